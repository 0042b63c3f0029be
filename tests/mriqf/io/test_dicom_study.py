"""Exports of DICOM studies, sorted into series."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicom_export import FAILED, SCORED, SKIPPED, make_export
from pydicom.data import get_testdata_file

from mriqf.io import ReadError, read
from mriqf.io.dicom_study import find_study

DIRECTORY = Path(get_testdata_file("DICOMDIR"))


@pytest.fixture
def export(tmp_path, disc):
    images = disc(5, 40, 48).astype(np.int16)
    return tmp_path, images, make_export(tmp_path, images)


def sort_export(path):
    failed = {}
    return find_study(path, lambda file, reason: failed.__setitem__(str(file), reason)), failed


def test_each_kind_is_known(export):
    root, images, numbers = export
    series, failed = sort_export(root)
    by_kind = {numbers[int(one.name.partition("/")[2])]: one for one in series}
    assert len(numbers) == 20
    assert by_kind.keys() == {*SCORED, *SKIPPED, "cut"}
    assert {kind: one.reason for kind, one in by_kind.items() if one.kind} == SKIPPED
    (path, reason), = failed.items()  # fmt: skip
    assert FAILED["deflated"] in reason and path in reason
    assert {len(one.files) for kind, one in by_kind.items() if kind in ("plain", "rle")} == {len(images)}
    assert {one.name.partition("/")[0] for one in series} == {"1", "2"}
    with pytest.raises(ReadError, match=FAILED["cut"]):
        by_kind["cut"].read("x").read_slice(0)


def test_series_hold_their_slices(export):
    root, images, numbers = export
    series, _ = sort_export(root)
    for one in series:
        kind = numbers[int(one.name.partition("/")[2])]
        if kind not in SCORED:
            continue
        volume = one.read("it")
        assert volume.grid == ((5, 2) if kind in ("cine", "echoes") else (5,)), kind
        if kind != "white is lowest":
            for k in range(volume.n_slices):
                np.testing.assert_array_equal(volume.read_slice(k)[0], images[k % 5])
        np.testing.assert_allclose(volume.affine, np.diag([-0.8, -0.9, 4, 1]), atol=1e-9)
        assert one.about["matrix"] == "40×48"
        assert one.about["plane"] == "axial"


def test_about_says_sequence_and_geometry_and_no_names(export):
    series, _ = sort_export(export[0])
    plain = next(one for one in series if one.about["description"] == "plain")
    about = plain.about
    assert (about["description"], about["voxel_mm"], about["images"]) == ("plain", "0.9×0.8×4", 5)
    assert (about["sequence"], about["tr_ms"], about["te_ms"], about["field_t"]) == ("SE", 4000, 240, 1.5)
    assert plain.people["patient_name"] == "Roe^Jane"
    assert not any("Roe" in str(value) or "4711" in str(value) for one in series for value in one.about.values())


def test_series_are_read_by_name(export):
    root, images, numbers = export
    mosaic = next(number for number, kind in numbers.items() if kind == "mosaic")
    study = next(one.name for one in sort_export(root)[0] if one.name.endswith(f"/{mosaic}"))
    np.testing.assert_array_equal(read(f"{root}#{study}").read_slice(3)[0], images[3])
    with pytest.raises(ReadError, match=r"has no series 9/9: choose 1/"):
        read(f"{root}#9/9")


def test_directory_of_pydicom():
    series, failed = sort_export(DIRECTORY)
    assert not failed
    assert len(series) == 13
    assert sum(len(one.files) for one in series) == 31
    kinds = [one.kind for one in series]
    assert (kinds.count("localiser"), kinds.count("derived"), kinds.count("other")) == (6, 1, 6)
    assert sort_export(DIRECTORY.parent / "77654033")[0][0].reason in ("is CR, not MR", "is CT, not MR")


def test_directory_lists_what_is_gone(tmp_path):
    (tmp_path / "DICOMDIR").write_bytes(DIRECTORY.read_bytes())
    failed = {}
    with pytest.raises(ReadError, match="no DICOM file is in it"):
        find_study(tmp_path / "DICOMDIR", lambda file, reason: failed.__setitem__(str(file), reason))
    assert len(failed) == 31
    assert all("is listed in DICOMDIR, but is not there" in reason for reason in failed.values())


@pytest.mark.filterwarnings("ignore:The DICOM readers are highly experimental")
def test_a_mosaic_of_a_scanner_lies_where_nibabel_puts_it(tmp_path):
    from nibabel.nicom.dicomwrappers import wrapper_from_file

    packed = Path(nibabel.__file__).parent / "nicom" / "tests" / "data" / "siemens_dwi_1000.dcm.gz"
    path = tmp_path / "a.dcm"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    theirs, ours = wrapper_from_file(path), read(path)
    assert (*ours.shape, *ours.grid) == theirs.image_shape == (128, 128, 48)
    np.testing.assert_allclose(ours.affine[:, [1, 0, 2, 3]], np.diag([-1, -1, 1, 1]) @ theirs.affine, atol=1e-4)
    (one,), _ = sort_export(path)
    assert (one.kind, one.about["images"]) == ("", 48)


def test_a_mosaic_without_a_count_is_not_taken_apart():
    path = Path(nibabel.__file__).parent / "nicom" / "tests" / "data" / "0.dcm"
    (one,), _ = sort_export(path)
    assert one.reason == "is a mosaic that does not say how its tiles lie"
    assert read(path).n_slices == 1


def test_nothing_to_find(tmp_path):
    with pytest.raises(ReadError, match="does not exist"):
        sort_export(tmp_path / "absent")
    with pytest.raises(ReadError, match="no DICOM file is in it"):
        sort_export(tmp_path)
