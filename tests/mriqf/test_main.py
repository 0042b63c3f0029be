"""`python -m mriqf` is the command line."""

import subprocess
import sys

import mriqf


def run(*tokens):
    return subprocess.run([sys.executable, "-m", "mriqf", *tokens], capture_output=True, text=True, check=False)


def test_it_is_the_command_line_with_its_exit_status(tmp_path):
    version = run("--version")
    assert (version.returncode, version.stdout.strip()) == (0, mriqf.__version__)
    wrong = run("score", str(tmp_path / "missing.nii"), "--wieghts", "qf-mri")
    assert wrong.returncode == 2
