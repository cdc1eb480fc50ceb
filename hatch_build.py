"""Compiles `kernels.c` where there is a C compiler; without one torch's own operations are used."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "autottt/adapters/models/kernels.c"
COMPILE = "-O3 -std=gnu11 -fPIC -fopenmp -fno-math-errno -fno-trapping-math -c"


class KernelsHook(BuildHookInterface):
    """Puts `libkernels.so` beside its source, in the tree for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        source = Path(self.root, SOURCE)
        target = source.with_name("libkernels.so")
        compiler = shlex.split(os.environ.get("CC", "cc"))
        if self.target_name != "wheel" or shutil.which(compiler[0]) is None:
            return
        middle = source.with_suffix(".o")
        checksum = f"-DSOURCE={zlib.crc32(source.read_bytes())}u"
        try:
            # linked without an OpenMP runtime: two in one process would fight for the cores
            for command in (
                [*compiler, *COMPILE.split(), checksum, str(source), "-o", str(middle)],
                [*compiler, "-shared", str(middle), "-lm", "-o", str(target)],
            ):
                subprocess.run(command, check=True, capture_output=True)
        except subprocess.CalledProcessError as error:
            target.unlink(missing_ok=True)
            self.app.display_warning(f"kernels.c was not compiled: {error.stderr.decode()[-300:]}")
            return
        finally:
            middle.unlink(missing_ok=True)
        build_data["artifacts"].append(str(target.relative_to(self.root)))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
