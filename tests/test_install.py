"""An installation without extras: its abilities, and messages that name what to install."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pydicom.data
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for package in ("mriqf", "recon") for path in (ROOT / package).rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ELSEWHERE = {"fastmri"}  # named in messages, but in no extra

CORE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

BLOCKED = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Absent())
from mriqf.cli import main
sys.exit(main(sys.argv[2:]))
"""


def names(requirements):
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def needed(distribution, seen):
    """Names of a distribution and all that it requires here, added to `seen`."""
    name = canonicalize_name(distribution)
    if name in seen:
        return
    seen.add(name)
    for text in metadata.requires(distribution) or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            try:
                needed(requirement.name, seen)
            except metadata.PackageNotFoundError:
                seen.discard(canonicalize_name(requirement.name))


@pytest.fixture(scope="module")
def core():
    """Runs `mriqf` as if nothing but the core's dependencies, and theirs, were installed."""
    kept = {"mriqf"}
    for text in PROJECT["dependencies"]:
        needed(Requirement(text).name, kept)
    assert not kept & {"sigpy", "torchmetrics", "onnx", "pyarrow", "ismrmrd"}
    blocked = [
        module
        for module, of in metadata.packages_distributions().items()
        if not kept & {canonicalize_name(name) for name in of}
    ]

    def run(*words):
        command = [sys.executable, "-c", CORE, ",".join(blocked), *map(str, words)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    return run


@pytest.mark.end_to_end
def test_core_runs_the_demo(core, tmp_path):
    done = core("demo", "--out", tmp_path / "demo", "--accelerations", 4)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo" / "demo.png").stat().st_size > 10_000


def test_core_reads_nifti_and_dicom_and_writes_maps(core, tmp_path):
    import nibabel

    scan = Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz"
    dicom = pydicom.data.get_testdata_file("MR_small.dcm")
    done = core("score", scan, dicom, "--slices", "12", "--map-dir", tmp_path)
    assert "MR_small.dcm: --slices selects none" in done.stderr  # it was read, and has one slice
    assert (tmp_path / "example4d_quality.nii.gz").exists(), done.stderr


def test_core_says_what_else_is_needed(core, tmp_path):
    done = core("score", "a.npy", "--out", tmp_path / "scores")
    assert done.returncode == 1
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr


def hints():
    """Packages that a message of the sources says to install, each with where it stands."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for command in re.findall(r"pip install ([^\n,:;]+)", node.value):
                    yield from ((path, word) for word in command.split() if not word.startswith("-") and word != "and")


def test_what_messages_say_to_install_is_what_the_extras_hold():
    found = list(hints())
    extras = names(text for extra in PROJECT["optional-dependencies"].values() for text in extra)
    wrong = [(str(path), word) for path, word in found if canonicalize_name(word) not in extras | ELSEWHERE]
    assert not wrong
    said = {canonicalize_name(word) for _, word in found}
    assert said >= {"sigpy", "fastmri", "torchmetrics", "onnx", "pyarrow", "distributed", "jpeglib"}
    # The package is on no index: what its name says to install there would be somebody else's, or nothing.
    assert not [path for path in SOURCES if "pip install mriqf" in path.read_text("utf-8").replace('"', "")]


@pytest.mark.parametrize("extra", sorted(PROJECT["optional-dependencies"]))
def test_no_extra_brings_torchvision(extra):
    """It seldom fits torch, and torchmetrics cannot be imported beside one that does not."""
    found = set()
    for text in PROJECT["optional-dependencies"][extra]:
        name = Requirement(text).name
        if name != PROJECT["name"]:
            try:
                needed(name, found)
            except metadata.PackageNotFoundError:
                continue  # an extra that is not installed here
    assert "torchvision" not in found
    assert "fastmri" not in found
