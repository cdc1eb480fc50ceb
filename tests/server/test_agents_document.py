"""The examples of the documents are run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autottt.evaluation.local_server import LocalServer
from tests.conftest import ROOT
from tests.server.conftest import KEY

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/agents.md").read_text(), re.DOTALL)
SHOWS = {  # what an example is about, by what it imports -> what it prints
    "openai": "[[0, 1, 7]]",
    "mcp": "[[0, 1, 7]]",
    "autottt.plugins.langgraph": "[[0, 1, 7]]",
    "inspect_ai": "success [[0, 1, 7]]",
}


def test_every_example_is_known() -> None:
    """There is one example for each way that the document describes."""
    assert len(BLOCKS) == len(SHOWS)


@pytest.mark.parametrize(("library", "shown"), SHOWS.items())
def test_an_example_of_the_agents_document(
    library: str, shown: str, server: LocalServer, tmp_path: Path
) -> None:
    """The example runs unchanged, but for the server's port and key, and prints the answer."""
    (code,) = [block for block in BLOCKS if f"from {library} import" in block]
    code = code.replace("http://127.0.0.1:8000", server.url).replace('"none"', repr(KEY))
    assert shown in _run(code, tmp_path)


def _run(code: str, folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
