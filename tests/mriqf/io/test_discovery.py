"""Search of folders for inputs, and reasons for all skipped files."""

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from mriqf.io import ReadError, find_inputs, read
from mriqf.io.discovery import NAMED, RAW, passed_over

SMALL = get_testdata_file("MR_small.dcm")
UIDS = [generate_uid() for _ in range(3)]


@pytest.fixture
def archive(tmp_path, disc, texture, monkeypatch):
    """Folder of five volumes, two of them in a folder within it, beside files that are none."""
    folder = tmp_path / "archive"
    (folder / "b").mkdir(parents=True)
    for k, name in enumerate(("c.npy", "a.npy", "b/d.npy")):
        np.save(folder / name, disc(1, 64, 80, seed=k))
    nibabel.save(nibabel.Nifti1Image(disc(1, 64, 80).T, np.eye(4)), folder / "b" / "e.nii.gz")
    Image.fromarray(texture(64, 64)).save(folder / "z.png")
    (folder / "notes.txt").write_text("none")
    (folder / ".hidden.npy").write_text("none")
    monkeypatch.chdir(tmp_path)
    return folder


def dicom(path, uid=UIDS[0], series=3, *, image=True, **attributes):
    dataset = pydicom.dcmread(SMALL)
    dataset.SeriesInstanceUID, dataset.SeriesNumber = uid, series
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    if not image:
        del dataset.Rows, dataset.Columns, dataset.PixelData
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)
    return path


def find(*paths, **options):
    """Names of the found inputs, and reasons for skipped files; fails if there is a problem."""
    skipped = {}
    sources = find_inputs([str(path) for path in paths], pytest.fail, skipped.__setitem__, **options)
    return list(sources.values()), skipped


def test_volumes_below_folders(archive):
    shutil.copy(archive / "a.npy", archive / "A.NPY")
    problems = []
    names = [
        "archive/A.NPY",
        "archive/a.npy",
        "archive/c.npy",
        "archive/z.png",
        "archive/b/d.npy",
        "archive/b/e.nii.gz",
    ]
    sources = find_inputs(["archive/c.npy", "archive", "missing.nii", str(archive / "a.npy")], problems.append)
    assert list(sources.values()) == ["archive/c.npy", *(n for n in names if n != "archive/c.npy"), "missing.nii"]
    assert list(sources) == [str(Path(name).absolute()) for name in sources.values()]
    assert not problems
    (archive / "loop").symlink_to(archive)
    assert list(find_inputs(["archive/"], problems.append).values()) == names
    assert not problems


def test_every_file_is_found_or_named(archive):
    (archive / ".git").mkdir()
    (archive / "loop").symlink_to(archive)
    (archive / "gone.npy").symlink_to(archive / "nowhere")
    (archive / "volume.hdr").write_text("")
    (archive / "volume.img").write_text("")
    names, skipped = find("archive")
    assert skipped == {
        "archive/.git/": "is hidden",
        "archive/.hidden.npy": "is hidden",
        "archive/gone.npy": "is no ordinary file",
        "archive/loop": "is a link to a folder, which is not followed",
        "archive/notes.txt": "is of no format that is read",
    }
    halves = {"archive/volume.img"}  # of what is named
    everything = {str(path.relative_to(archive.parent)) for path in archive.rglob("*") if not path.is_dir()}
    assert everything - {*names, *skipped} == halves


def test_series_and_pairs_are_one_volume(tmp_path):
    series = tmp_path / "series"
    for folder in ("one", "two"):
        for k in range(3):
            dicom(series / folder / f"{k}")
    (series / "two" / "thumbnail.png").write_bytes(b"")
    (series / "x.hdr").write_text("")
    (series / "x.cfl").write_text("")
    (series / "y.hdr").write_text("")
    (series / "y.img").write_text("")
    (series / "broken.dcm").write_text("")
    expected = ["broken.dcm", "x.cfl", "y.hdr", "one", "two", "two/thumbnail.png"]
    assert find(series) == ([str(series / name) for name in expected], {})


def test_lone_dicom_file_among_others_is_itself(archive):
    dicom(archive / "MR")
    assert find("archive")[0][:2] == ["archive/MR", "archive/a.npy"]


def test_study_in_one_folder_is_cut_into_series(tmp_path):
    study = tmp_path / "study"
    for k in range(5):
        dicom(study / f"im{k}", UIDS[k % 2], (7, 12)[k % 2], InstanceNumber=k, SliceLocation=k)
    dicom(study / "DICOMDIR")
    dicom(study / "report", UIDS[2], 99, image=False)
    names, skipped = find(study)
    assert names == [f"{study}#7", f"{study}#12"]
    reasons = {"DICOMDIR": "is an index of DICOM files", "report": "is DICOM without an image"}
    assert skipped == {str(study / name): reason for name, reason in reasons.items()}
    assert [read(name).n_slices for name in names] == [3, 2]
    assert read(names[0]).source == names[0]
    with pytest.raises(ReadError, match=r"study: has no series 8: choose 7, 12"):
        read(f"{study}#8")
    with pytest.raises(ReadError, match=r"mixes 2 series .* or give one as .*study#NUMBER, of 7, 12"):
        read(study)


def test_series_of_one_number_are_told_apart(tmp_path):
    for k, uid in enumerate(sorted(UIDS)):
        dicom(tmp_path / f"im{k}", uid, 3 if k < 2 else 5)
    assert find(tmp_path)[0] == [f"{tmp_path}#{number}" for number in ("3.1", "3.2", "5")]
    assert read(f"{tmp_path}#3.2").n_slices == 1


def test_file_with_a_hash_in_its_name_is_a_file(tmp_path, disc):
    dicom(tmp_path / "a")
    np.save(tmp_path / "a#3.npy", disc(2))
    assert read(f"{tmp_path}/a#3.npy").n_slices == 2
    with pytest.raises(ReadError, match="does not exist"):
        read(f"{tmp_path}/a#3")


def test_folder_without_images_is_told(tmp_path):
    (tmp_path / "a.txt").write_text("")
    problems = []
    assert find_inputs([str(tmp_path)], problems.append) == {}
    assert len(problems) == 1
    assert f"{tmp_path}: nothing to read is in it" in problems[0]


def test_only_what_is_looked_for(archive):
    (archive / "raw.h5").write_bytes(b"")
    names, skipped = find("archive", endings=RAW)
    assert names == ["archive/a.npy", "archive/c.npy", "archive/raw.h5", "archive/b/d.npy"]
    assert skipped["archive/z.png"] == "is of no format that is read"


def test_many_files_of_one_reason_are_counted():
    skipped = {f"{k}.json": "no image" for k in range(NAMED)} | {"x": "hidden"}
    assert passed_over(skipped) == [f"{k}.json: no image" for k in range(NAMED)] + ["x: hidden"]
    skipped |= {"a.bval": "no image", "README": "no image"}
    assert passed_over(skipped) == [
        f"{NAMED + 2} files ({NAMED} .json, 1 .bval, 1 without ending): no image; the first is 0.json", "x: hidden",
    ]  # fmt: skip
