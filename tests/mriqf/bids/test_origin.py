import json

import pytest

from mriqf.bids.origin import Origins

SOURCE = "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz"
META = {"source": SOURCE, "sub": "01", "ses": "2", "suffix": "T1w"}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "sub-01/ses-2/anat").mkdir(parents=True)
    return tmp_path


def write(path, **fields):
    path.write_text(json.dumps(fields))


def test_the_nearest_sidecar_counts_most(root):
    write(root / "T1w.json", Manufacturer="S", MagneticFieldStrength=1.5, ManufacturersModelName="M")
    write(root / "ses-2_T1w.json", ManufacturersModelName="of the session")
    write(root / "task-x_T1w.json", ManufacturersModelName="of a task")
    write(root / "T2w.json", Manufacturer="of another contrast")
    write(root / "sub-01/ses-2/anat/sub-01_ses-2_T1w.json", MagneticFieldStrength=3, StationName="A")
    assert Origins(root).columns(META) == {
        "manufacturer": "S", "field_t": "3", "model": "of the session", "station": "A", "session": "2",
    }  # fmt: skip


def test_tables_of_scans_and_participants(root):
    (root / "participants.tsv").write_text("participant_id\tage\tsite\nsub-01\t7\tOslo\nsub-02\t8\tRome\n")
    (root / "sub-01/ses-2/sub-01_ses-2_scans.tsv").write_text(
        "filename\tacq_time\nanat/sub-01_ses-2_T1w.nii.gz\t2020-01-02T03:04:05\nanat/other.nii.gz\tn/a\n"
    )
    assert Origins(root).columns(META) == {"site": "Oslo", "acq_time": "2020-01-02T03:04:05", "session": "2"}


def test_damage_is_passed_over_and_told(root):
    (root / "T1w.json").write_text("{")
    (root / "participants.tsv").write_bytes(b"\xff\xfe\x00")
    (root / "sub-01/ses-2/sub-01_ses-2_scans.tsv").write_text("no\theader\nx\ty\n")
    origins = Origins(root)
    assert origins.columns(META) == origins.columns(META) == {"session": "2"}
    assert set(origins.damaged) == {"T1w.json", "participants.tsv", "sub-01/ses-2/sub-01_ses-2_scans.tsv"}
    assert "has no column filename" in origins.damaged["sub-01/ses-2/sub-01_ses-2_scans.tsv"]
