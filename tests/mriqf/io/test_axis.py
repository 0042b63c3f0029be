"""Volumes cut along another axis: the same voxels at the same places."""

import nibabel
import numpy as np
import pytest

from mriqf.io import ReadError, cut_along, from_array, read, write_map

# Voxel (column, row, slice) to (right, anterior, superior): a sagittal scan, whose slices go from left to right.
SAGITTAL = np.array([[0, 0, 3.0, -20], [1.5, 0, 0, 5], [0, 2.0, 0, -9], [0, 0, 0, 1]])


@pytest.fixture
def scan(tmp_path):
    values = np.arange(5 * 6 * 7 * 2, dtype=np.float32).reshape(5, 6, 7, 2)  # columns, rows, slices, times
    nibabel.save(nibabel.Nifti1Image(values, SAGITTAL), tmp_path / "scan.nii.gz")
    return read(tmp_path / "scan.nii.gz"), values


@pytest.mark.parametrize("axis", ["slice", "row", "column", "sagittal", "coronal", "axial"])
def test_voxels_stay_where_they_are(scan, axis):
    volume, values = scan
    sliced = cut_along(volume, axis)
    deep = sliced.grid[0]
    assert sliced.n_slices == deep * 2
    inverse = np.linalg.inv(SAGITTAL)
    for time in range(2):
        for k in range(deep):
            image = sliced.read_slice(time * deep + k)
            assert image.shape == (1, *sliced.shape)
            for row, column in ((0, 0), (sliced.shape[0] - 1, 1), (2, sliced.shape[1] - 1)):
                place = sliced.affine @ [column, row, k, 1]
                voxel = np.rint(inverse @ place).astype(int)[:3]
                assert image[0, row, column] == values[(*voxel, time)]
    normal = np.abs(np.cross(sliced.affine[:3, 0], sliced.affine[:3, 1])).argmax()
    planes = {"sagittal": 0, "coronal": 1, "axial": 2, "slice": 0, "column": 1, "row": 2}
    assert normal == planes[axis]
    if axis in ("coronal", "axial"):  # superior, or anterior, is up
        assert sliced.rows_up == (max(sliced.affine[:3, 1], key=abs) > 0)


def test_arrays_have_rows_and_columns():
    values = np.random.default_rng(0).random((4, 6, 5)).astype(np.float32)
    volume = from_array(values)
    by_row, by_column = cut_along(volume, "row"), cut_along(volume, "column")
    np.testing.assert_array_equal(by_row.read_slice(2)[0], values[:, 2])
    np.testing.assert_array_equal(by_column.read_slice(4)[0], values[:, :, 4])
    assert cut_along(volume, "slice") is volume
    with pytest.raises(IndexError, match="slice 5 of array"):
        by_column.read_slice(5)
    with pytest.raises(ReadError, match="how it lies in space is not known: choose axis slice, row or column"):
        cut_along(volume, "axial")
    with pytest.raises(ReadError, match="has one slice only"):
        cut_along(from_array(values[0]), "row")


def test_colours_are_cut_too():
    values = np.random.default_rng(0).random((4, 3, 6, 5)).astype(np.float32)
    np.testing.assert_array_equal(cut_along(from_array(values), "row").read_slice(3), values[:, :, 3].swapaxes(0, 1))


def test_what_does_not_fit_into_memory_is_refused(scan, monkeypatch):
    monkeypatch.setattr("mriqf.io.axis.WHOLE", 100)
    with pytest.raises(ReadError, match="takes 840 bytes, more than 100"):
        cut_along(scan[0], "row")


def test_map_of_a_cut_volume_lies_over_it(scan, tmp_path):
    volume = cut_along(scan[0], "axial")
    path = write_map(tmp_path / "map.nii.gz", volume, (volume.read_slice(k)[0] for k in range(volume.n_slices)))
    written = nibabel.load(path)
    values = written.get_fdata()
    for voxel in ((0, 0, 0, 0), (3, 5, 4, 1), (2, 1, 5, 0)):
        stored = np.rint(np.linalg.inv(SAGITTAL) @ written.affine @ [*voxel[:3], 1]).astype(int)[:3]
        assert values[voxel] == scan[1][(*stored, voxel[3])]
