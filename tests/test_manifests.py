"""The manifests that the shipped weights were trained on."""

import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

from mriqf.training.manifest import read_manifest

FOLDER = Path(__file__).parents[1] / "data_manifests"
each_manifest = pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)


def test_there_are_manifests():
    assert {path.stem for path in FOLDER.glob("*.toml")} >= {"qf-gray", "qf-rgb", "modl-knee", "fastmri-knee-multicoil"}


@each_manifest
def test_manifest_is_complete(path):
    manifest = read_manifest(path)
    assert manifest.name == path.stem
    trains = not path.stem.startswith("study-")  # which only measure
    assert bool(manifest.split("train")) == trains
    assert manifest.split("test" if not trains else "val") or path.stem == "stanford-knee"  # which nobody has split
    assert {source.split for source in manifest.sources} <= {"train", "val", "test"}
    for source in manifest.sources:
        assert re.fullmatch("[0-9a-f]{64}", source.sha256 or "") or (source.files, source.count) > ("", 0)
        assert source.weight > 0
        assert not Path(source.path).is_absolute()
        assert ".." not in Path(source.path).parts
        if source.subjects is not None:
            assert list(source.subjects) == sorted(set(source.subjects))


@each_manifest
def test_splits_share_neither_file_nor_subject(path):
    splits, hashes = defaultdict(set), defaultdict(set)
    whole = set()
    for source in read_manifest(path).sources:
        array = source.path, source.key  # the arrays of one file may be of several subjects
        hashes[source.path].add(source.sha256 or source.path)
        for subject in source.subjects or (None,):
            splits[array, subject].add(source.split)
        if source.subjects is None:
            assert array not in whole
            whole.add(array)
    assert all(len(found) == 1 for found in splits.values())
    assert all(len(found) == 1 for found in hashes.values())
    assert not any(array in whole and subject is not None for array, subject in splits)
    assert len({sha256 for found in hashes.values() for sha256 in found}) == len(hashes)  # no file under two names


def test_no_manifest_trains_on_what_another_tests():
    uses = defaultdict(set)
    for path in FOLDER.glob("*.toml"):
        for source in read_manifest(path).sources:
            for subject in source.subjects or (None,):
                name = source.sha256 or (path.stem, source.path)
                uses[name, source.key, subject].add("test" if source.split == "test" else "train or val")
    assert all(len(found) == 1 for found in uses.values())


@each_manifest
def test_test_subjects_of_the_knees_are_never_seen(path):
    for source in read_manifest(path).sources:
        if "knee_stanford" in source.path:
            assert source.subjects is not None
            assert set(source.subjects).isdisjoint({12, 13, 14, 15}) == (source.split != "test")


@pytest.mark.parametrize(
    "path",
    sorted(p for p in FOLDER.glob("*.toml") if p.stem.startswith(("fastmri-", "stanford-"))),
    ids=lambda path: path.stem,
)
def test_public_data_sets_have_a_card(path):
    card = tomllib.loads(path.read_text())
    assert card["url"].startswith("http")
    assert all(card[key] for key in ("terms", "citation", "layout"))
