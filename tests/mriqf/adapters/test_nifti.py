"""Maps lie where the anatomy lies, for viewers that go by the qform as for those that go by the sform."""

import nibabel
import numpy as np
import pytest
import torch
from nibabel.affines import apply_affine
from PIL import Image

import mriqf
from mriqf.adapters.nifti import lay_over
from mriqf.cli import main
from mriqf.io import ReadError
from mriqf.jpeg import compress

SFORM = np.array([[0, 2.0, 0, -5], [-1.5, 0, 0, 7], [0, 0, 3, 1], [0, 0, 0, 1]])
QFORM = np.array([[-1.5, 0, 0, 8], [0, 2, 0, 9], [0, 0, 3, 10.0], [0, 0, 0, 1]])


def save(path, values, kind=nibabel.Nifti1Image):
    """A file whose two forms differ, with a name in its header."""
    image = kind(values.astype(np.float32), None)
    image.set_qform(QFORM, code="scanner")
    image.set_sform(SFORM, code="mni")
    image.header["descrip"] = b"Doe^John"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Doe^John"))
    nibabel.save(image, path)
    return path


def quality_map(path, scan):
    volume = mriqf.read(scan)
    rng = np.random.default_rng(0)
    maps = 100 * rng.random((volume.n_slices, *volume.shape), np.float32)
    maps[0, 0] = np.nan
    mriqf.write_map(path, volume, maps)
    return path, maps


@pytest.mark.parametrize("shape", [(7, 6), (7, 6, 1), (7, 6, 4), (7, 6, 4, 3)])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_place_is_the_anatomys(tmp_path, shape, kind):
    scan = save(tmp_path / "scan.nii.gz", np.ones(shape), kind)
    made, maps = quality_map(tmp_path / "map.nii.gz", scan)
    laid = nibabel.load(lay_over(made, scan, tmp_path / "over.nii.gz"))
    image = nibabel.load(scan)
    assert laid.shape == shape
    assert type(laid) is kind
    for form in ("get_sform", "get_qform"):
        (place, code), (wanted, wanted_code) = (getattr(i.header, form)(coded=True) for i in (laid, image))
        assert code == wanted_code
        np.testing.assert_array_equal(place, wanted)
    assert laid.header.get_zooms() == image.header.get_zooms()
    assert laid.header.get_xyzt_units() == image.header.get_xyzt_units()
    assert (laid.header["cal_min"], laid.header["cal_max"]) == (0, 100)
    np.testing.assert_array_equal(laid.get_fdata(dtype=np.float32), maps.reshape(-1, 6, 7).T.reshape(shape, order="F"))


def test_nothing_of_a_patient_comes_along(tmp_path):
    scan = save(tmp_path / "scan.nii", np.ones((7, 6, 2)))
    made, _ = quality_map(tmp_path / "map.nii", scan)
    assert b"Doe" in scan.read_bytes()
    assert b"Doe" not in lay_over(made, scan, tmp_path / "over.nii").read_bytes()


def test_the_map_is_low_where_the_anatomy_was_damaged(tmp_path, texture):
    """In millimetres, through `mriqf score`: no axis is swapped or turned round."""
    pixels = np.stack([texture(128, 160, seed=k) for k in range(2)]).astype(np.float32) / 255
    corner = torch.from_numpy(pixels[1:, None, :64, :80])  # of slice 1: first rows and columns
    pixels[1, :64, :80] = compress(corner, 5)[0, 0].numpy()
    scan = save(tmp_path / "scan.nii.gz", pixels.T)
    assert main(["score", str(scan), "--weights", "qf-gray", "--map-dir", str(tmp_path / "maps")]) == 0
    made = tmp_path / "maps" / "scan_quality.nii.gz"
    for path in (made, lay_over(made, scan, tmp_path / "over.nii.gz")):
        laid = nibabel.load(path)
        low = apply_affine(laid.affine, np.argwhere(laid.get_fdata() < 50))
        column, row, index = apply_affine(np.linalg.inv(nibabel.load(scan).affine), low).round().T
        assert len(low) > 1000
        assert (column.max() < 80, row.max() < 64, set(index)) == (True, True, {1})


def test_refusals(tmp_path):
    scan = save(tmp_path / "scan.nii", np.ones((7, 6, 2)))
    made, _ = quality_map(tmp_path / "map.nii", scan)
    other = save(tmp_path / "other.nii", np.ones((6, 7, 2)))
    with pytest.raises(ReadError, match=r"map is \(7, 6, 2\), .*other\.nii \(6, 7, 2\): give the image that it is of"):
        lay_over(made, other, tmp_path / "over.nii")
    with pytest.raises(ReadError, match=r"over\.png: maps are written as NIfTI"):
        lay_over(made, scan, tmp_path / "over.png")
    Image.fromarray(np.ones((6, 7), np.uint8)).save(tmp_path / "flat.png")
    flat, _ = quality_map(tmp_path / "flat.nii", save(tmp_path / "flat_scan.nii", np.ones((7, 6))))
    with pytest.raises(ReadError, match=r"flat\.png: cannot be read"):
        lay_over(flat, tmp_path / "flat.png", tmp_path / "over.nii")
    with pytest.raises(FileExistsError, match="--force"):
        lay_over(made, scan, other)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["scan.nii", "map.nii", "other.nii", "flat.png", "flat.nii", "flat_scan.nii"]
    )
