"""The check for machines with a GPU, rehearsed on the CPU."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.end_to_end
def test_rehearsal():
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--size", "64", "--seconds", "0.01"]
    found = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("0.0e+00 from the CPU") == 8
