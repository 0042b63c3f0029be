"""Scans found in BIDS datasets."""

import json

import pytest

from mriqf.bids.tree import find_scans, parse, read_description
from mriqf.io import ReadError


@pytest.fixture
def tree(tmp_path):
    """Maker of a dataset of empty files."""

    def make(*files, description=None):
        root = tmp_path / "data"
        for file in files:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).touch()
        root.mkdir(exist_ok=True)
        if description is None:
            description = {"Name": "tree", "BIDSVersion": "1.10.0"}
        (root / "dataset_description.json").write_text(json.dumps(description))
        return root

    return make


FILES = (
    "sub-01/anat/sub-01_T1w.nii.gz",
    "sub-01/anat/sub-01_T1w.json",
    "sub-01/func/sub-01_task-rest_bold.nii.gz",
    "sub-02/ses-a/anat/sub-02_ses-a_acq-high_T2w.nii",
    "sub-02/ses-b/anat/sub-02_ses-b_T1w.nii.gz",
    "derivatives/other/sub-01/anat/sub-01_T1w.nii.gz",
    "sourcedata/sub-01/anat/sub-01_T1w.nii.gz",
)


def names(result):
    return [scan.name for scan in result[0]]


def test_structural_images_are_found_by_default(tree):
    root = tree(*FILES)
    scans = find_scans(root)
    assert names(scans) == ["sub-01_T1w", "sub-02_ses-a_acq-high_T2w", "sub-02_ses-b_T1w"]
    assert scans[0][1].entities == {"sub": "02", "ses": "a", "acq": "high"}
    assert scans[0][1].relative == FILES[3]
    assert scans[1] == {"bold": 1}


@pytest.mark.parametrize(("chosen", "expected"), [
    ({"participants": ["01"]}, ["sub-01_T1w"]),
    ({"participants": ["sub-02", "02"]}, ["sub-02_ses-a_acq-high_T2w", "sub-02_ses-b_T1w"]),
    ({"sessions": ["ses-b"]}, ["sub-02_ses-b_T1w"]),
    ({"modalities": ["bold", "T2w"]}, ["sub-01_task-rest_bold", "sub-02_ses-a_acq-high_T2w"]),
])  # fmt: skip
def test_scans_are_chosen(tree, chosen, expected):
    assert names(find_scans(tree(*FILES), **chosen)) == expected


def test_scans_that_are_passed_over_have_a_reason(tree):
    root = tree(
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_T1w.nii",
        "sub-01/anat/sub-02_T1w.nii.gz",
        "sub-01/anat/sub-01_acq-bad_T1w.nii.gz",
        "sub-01/anat/sub-01_part-phase_T1w.nii.gz",
        "sub-01/anat/T1w.nii.gz",
    )
    (root / ".bidsignore").write_text("# of a phantom\n**/*_acq-bad_*\n")
    skipped = {}
    assert names(find_scans(root, skip=skipped.__setitem__)) == ["sub-01_T1w"]
    assert {path.rpartition("/")[2]: reason for path, reason in skipped.items()} == {
        "sub-01_T1w.nii.gz": "has the name of sub-01_T1w.nii",
        "sub-02_T1w.nii.gz": "is no name that BIDS knows in this folder",
        "sub-01_acq-bad_T1w.nii.gz": "is named in .bidsignore",
        "sub-01_part-phase_T1w.nii.gz": "is phase, not magnitude",
        "T1w.nii.gz": "is no name that BIDS knows in this folder",
    }


@pytest.mark.parametrize(("description", "said"), [
    ({"Name": "x"}, "says no BIDSVersion"),
    ([], "says no Name and no BIDSVersion"),
    ({"BIDSVersion": "1.0.0"}, "says no Name"),
])  # fmt: skip
def test_invalid_descriptions_are_refused(tree, description, said):
    with pytest.raises(ReadError, match=said):
        read_description(tree(description=description))


def test_what_is_no_dataset_is_refused(tree, tmp_path):
    with pytest.raises(ReadError, match="is no folder"):
        find_scans(tmp_path / "absent")
    with pytest.raises(ReadError, match=r"no dataset_description\.json"):
        find_scans(tmp_path)
    root = tree()
    with pytest.raises(ReadError, match="no folder sub-"):
        find_scans(root)
    (root / "dataset_description.json").write_text("{" * 10)
    with pytest.raises(ReadError, match="is no JSON"):
        find_scans(root)


def test_unknown_labels_are_refused(tree):
    root = tree(*FILES)
    with pytest.raises(ReadError, match=r"no participant 07 .* it has 01, 02"):
        find_scans(root, participants=["07"])
    with pytest.raises(ReadError, match=r"no session z .* it has a, b"):
        find_scans(root, sessions=["z"])


@pytest.mark.parametrize(
    "name", ["T1w.nii.gz", "sub-01_T1w_.nii.gz", "sub_T1w.nii", "sub-01_sub-02_T1w.nii", "ses-1_sub-1_T1w.nii"]
)
def test_other_names_are_no_scans(tmp_path, name):
    assert parse(tmp_path / name, name, "anat") is None
