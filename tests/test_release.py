"""Version, changelog and metadata of a release agree, and it needs no network."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CARDS = sorted(ROOT.glob("*/pretrained/*.md"))
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


@pytest.fixture(scope="module")
def release():
    spec = importlib.util.spec_from_file_location("release_check", ROOT / "release" / "check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_version_is_the_same_everywhere(release, monkeypatch):
    assert release.versions() == []
    read = release.text
    monkeypatch.setattr(
        release, "text", lambda name: read(name).replace("0.1.0", "0.0.9") if "cff" in name else read(name)
    )
    assert release.versions() == ["CITATION.cff says 0.0.9, not 0.1.0"]


def test_conda_recipe_needs_what_the_project_needs():
    recipe = yaml.safe_load((ROOT / "release" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    wanted = []
    for requirement in PROJECT["dependencies"]:
        name, bound = re.fullmatch(r"([\w-]+)(>=.*)", requirement).groups()
        wanted.append(f"{CONDA.get(name, name)} {bound}")
    assert sorted(recipe["requirements"]["run"]) == sorted([*wanted, f"python {PROJECT['requires-python']}"])
    assert recipe["build"]["python"]["entry_points"] == [f"{k} = {v}" for k, v in PROJECT["scripts"].items()]


def test_citation_and_zenodo_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    zenodo = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
    for key in ("title", "version", "license", "keywords"):
        assert citation[key] == zenodo[key]
    assert [maker["name"] for maker in zenodo["creators"]] == [author["name"] for author in citation["authors"]]


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_cards_begin_as_hugging_face_reads_them(path):
    front, text = re.fullmatch(r"---\n(.*?)\n---\n(.*)", path.read_text(encoding="utf-8"), re.DOTALL).groups()
    about = yaml.safe_load(front)
    assert about["license"] == "apache-2.0"
    assert about["library_name"] == "mriqf"
    assert len(about["tags"]) >= 3
    assert text.lstrip().startswith("# ")


def test_containers_install_what_is_locked():
    locked = re.findall(r"^([a-z0-9-]+)==", (ROOT / "container" / "requirements.txt").read_text(), re.MULTILINE)
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in PROJECT["dependencies"]}
    assert names - {"torch"} <= set(locked)
    assert {"pathspec", "highdicom", "distributed", "sigpy"} <= set(locked)
    assert not [name for name in locked if name.startswith(("nvidia", "torch", "triton"))]


@pytest.mark.end_to_end
def test_scoring_needs_no_network(tmp_path, disc):
    import numpy as np

    alone = ["unshare", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system does not let us take the network away")
    np.save(tmp_path / "a.npy", disc(1, 64, 64))
    command = [*alone, sys.executable, "-m", "mriqf", "score", str(tmp_path / "a.npy"), "--force-score"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "a.npy"))
