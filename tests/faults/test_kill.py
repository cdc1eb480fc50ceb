"""kill -9 of the loop, with the model that is shipped and real training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import autottt

CAMPAIGN = Path(__file__).parent / "kill_campaign.py"


def test_kills_lose_nothing_and_repeat_nothing() -> None:
    """After kills at random moments every task has one answer, of an unchanged model."""
    done = subprocess.run(
        [sys.executable, str(CAMPAIGN), "--kills", "20", "--tasks", "40"],
        env=os.environ
        | {"PYTHONPATH": str(Path(autottt.__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["killed_at_work"] >= 10
    assert found["results"] == found["unique"] == found["tasks"]
    assert found["results_after_each"] == sorted(found["results_after_each"])
    assert found["kinds"] == ["answer"]
    assert found["fingerprints"] == 1
    assert found["restored"]
