"""Compiles `kernels.c` where gcc is; without it torch's own operations are used, more slowly."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
import zlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "autottt/adapters/models/kernels.c"
COMPILE = "-O3 -std=gnu11 -fPIC -fopenmp -fno-math-errno -fno-trapping-math -c"


class KernelsHook(BuildHookInterface):
    """Puts `libkernels.so` beside its source, in the tree for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        source = Path(self.root, SOURCE)
        target = source.with_name("libkernels.so")
        try:
            target.unlink(missing_ok=True)  # of another source or other flags
            _compile(source, target)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or b""
            self.app.display_warning(
                f"kernels.c was not compiled: {error}\n{said.decode(errors='replace')[-500:]}"
            )
            return
        build_data["artifacts"].append(str(target.relative_to(self.root)))
        if version == "standard":
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform}"


def _compile(source: Path, target: Path) -> None:
    compiler = shlex.split(os.environ.get("CC") or shutil.which("gcc") or "cc")
    checksum = f"-DSOURCE={zlib.crc32(source.read_bytes())}u"
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        middle, library = Path(folder, "kernels.o"), Path(folder, target.name)
        # linked without an OpenMP runtime: two in one process would fight for the cores
        for command in (
            [*compiler, *COMPILE.split(), checksum, str(source), "-o", str(middle)],
            [*compiler, "-shared", str(middle), "-o", str(library)],
        ):
            subprocess.run(command, check=True, capture_output=True)
        library.replace(target)  # whole, for a process that loads it meanwhile
