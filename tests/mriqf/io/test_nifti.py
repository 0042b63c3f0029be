"""NIfTI: nibabel's own file, and maps that lie where their volume lies."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.testing import data_path

from mriqf.io import ReadError, read, write_map

EXAMPLE = Path(data_path) / "example4d.nii.gz"
AFFINE = np.array([[0, 2.0, 0, -5], [-1.5, 0, 0, 7], [0, 0, 3, 1], [0, 0, 0, 1]])
RNG = np.random.default_rng(0)


def save(path, values, affine=AFFINE, kind=nibabel.Nifti1Image):
    nibabel.save(kind(values, affine), path)
    return path


def test_example():
    """The file has z and t, big-endian numbers and a slope."""
    image = nibabel.load(EXAMPLE)
    volume = read(EXAMPLE)
    assert (volume.shape, volume.channels, volume.grid, volume.n_slices) == ((96, 128), 1, (24, 2), 48)
    assert volume.rows_up
    np.testing.assert_array_equal(volume.affine, image.affine)
    values = image.get_fdata(dtype=np.float32)
    for z, t in [(0, 0), (5, 0), (23, 1), (2, 1)]:  # going back, too
        np.testing.assert_array_equal(volume.read_slice(t * 24 + z)[0], values[:, :, z, t].T)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr"])
@pytest.mark.parametrize("shape", [(7, 6), (7, 6, 4), (7, 6, 4, 3), (7, 6, 1, 3)])
def test_shapes(tmp_path, name, shape):
    values = RNG.uniform(size=shape).astype(np.float32)
    kind = nibabel.Nifti1Pair if name == "a.hdr" else nibabel.Nifti1Image
    volume = read(save(tmp_path / name, values, kind=kind))
    assert (volume.shape, volume.grid) == ((6, 7), shape[2:] or (1,))
    slices = values.reshape(7, 6, -1, order="F")
    for index in range(volume.n_slices):
        np.testing.assert_array_equal(volume.read_slice(index)[0], slices[..., index].T)


def test_nifti_2(tmp_path):
    values = RNG.uniform(size=(7, 6, 4)).astype(np.float32)
    volume = read(save(tmp_path / "a.nii", values, kind=nibabel.Nifti2Image))
    np.testing.assert_array_equal(volume.read_slice(3)[0], values[..., 3].T)


def test_slope(tmp_path):
    image = nibabel.Nifti1Image(np.arange(42, dtype=np.int16).reshape(7, 6, 1), AFFINE)
    image.header.set_slope_inter(0.5, 10)
    nibabel.save(image, tmp_path / "a.nii")
    stored = np.frombuffer((tmp_path / "a.nii").read_bytes()[352:], np.int16).reshape(6, 7)
    np.testing.assert_allclose(read(tmp_path / "a.nii").read_slice(0)[0], 0.5 * stored + 10)


def test_complex(tmp_path):
    values = (RNG.normal(size=(7, 6, 2)) + 1j * RNG.normal(size=(7, 6, 2))).astype(np.complex64)
    volume = read(save(tmp_path / "a.nii", values))
    np.testing.assert_allclose(volume.read_slice(1)[0], np.abs(values[..., 1].T), rtol=1e-6)


def test_refusals(tmp_path):
    colours = np.zeros((7, 6, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(ReadError, match=r"rgb\.nii: holds RGB colours"):
        read(save(tmp_path / "rgb.nii", colours))
    zipped = save(tmp_path / "a.nii.gz", np.ones((7, 6, 2))).rename(tmp_path / "a.nii")
    with pytest.raises(ReadError, match=r"a\.nii: is compressed with gzip: rename it to end in \.nii\.gz"):
        read(zipped)
    plain = save(tmp_path / "b.nii", np.ones((7, 6, 2))).rename(tmp_path / "b.nii.gz")
    with pytest.raises(ReadError, match=r"b\.nii\.gz: is not compressed with gzip: rename it"):
        read(plain)
    pair = save(tmp_path / "c.hdr", np.ones((7, 6, 2)), kind=nibabel.Nifti1Pair)
    pair.with_suffix(".img").unlink()
    with pytest.raises(ReadError, match=r"c\.hdr: cannot be read"):
        read(pair).read_slice(0)


@pytest.mark.parametrize("level", [0, 6])
def test_each_bit_of_a_compressed_file_counts(tmp_path, level):
    """A bit that flips anywhere in data or checksums is noticed before a slice is read; header of gzip: 10 bytes."""
    image = nibabel.Nifti1Image(RNG.integers(0, 9, size=(7, 6, 4)).astype(np.int16), AFFINE)
    packed = gzip.compress(image.to_bytes(), level, mtime=0)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(packed)
    np.testing.assert_array_equal(read(path).read_slice(3)[0], np.asarray(image.dataobj)[..., 3].T)
    for place in (*range(10 + (level == 0) * 5, len(packed), 7), *range(len(packed) - 8, len(packed))):
        changed = bytearray(packed)
        changed[place] ^= 4
        path.write_bytes(changed)
        with pytest.raises(ReadError, match=r"a\.nii\.gz: [^\n]+: [^\n]+"):
            read(path)
    changed[-6] ^= 4  # of the checksum alone: all else can be read
    changed[-1] ^= 4
    path.write_bytes(changed)
    with pytest.raises(
        ReadError, match=r"a\.nii\.gz: has changed since it was compressed \(CRC.+\): copy or export it"
    ):
        read(path)


def test_what_follows_an_image_is_unpacked_to_a_limit(tmp_path, monkeypatch):
    image = nibabel.Nifti1Image(np.ones((7, 6, 4), np.int16), AFFINE).to_bytes()
    path = tmp_path / "a.nii.gz"
    monkeypatch.setattr("mriqf.io.nifti.EXTENSIONS", 4096)
    path.write_bytes(gzip.compress(image + bytes(4096)))
    assert read(path).read_slice(0).max() == 1
    path.write_bytes(gzip.compress(image + bytes(4097)))
    with pytest.raises(ReadError, match=r"a\.nii\.gz: has more than 4096 bytes behind its image: write it again"):
        read(path)


@pytest.mark.parametrize("name", ["map.nii", "map.nii.gz"])
@pytest.mark.parametrize("shape", [(7, 6, 4), (7, 6, 4, 3)])
def test_map_lies_where_its_volume_lies(tmp_path, name, shape):
    values = RNG.uniform(size=shape).astype(np.float32)
    volume = read(save(tmp_path / "a.nii", values))
    path = write_map(tmp_path / name, volume, (100 * volume.read_slice(i)[0] for i in range(volume.n_slices)))
    written = nibabel.load(path)
    assert path == tmp_path / name
    assert written.shape == shape
    assert written.get_data_dtype() == np.float32
    np.testing.assert_array_equal(written.affine, volume.affine)
    np.testing.assert_array_equal(written.get_fdata(dtype=np.float32), 100 * values)
    again = read(path)
    assert (again.shape, again.grid) == (volume.shape, volume.grid)


def test_map_of_the_example(tmp_path):
    volume = read(EXAMPLE)
    path = write_map(tmp_path / "map.nii", volume, (volume.read_slice(i)[0] for i in range(48)))
    image, written = nibabel.load(EXAMPLE), nibabel.load(path)
    np.testing.assert_array_equal(written.affine, image.affine)
    np.testing.assert_array_equal(written.get_fdata(), image.get_fdata(dtype=np.float32))


def test_map_may_hold_nan_and_is_reproducible(tmp_path):
    volume = read(save(tmp_path / "a.nii", np.ones((7, 6, 2), np.float32)))
    maps = np.full((2, 6, 7), np.nan, np.float32)
    maps[1, 2, 3] = 42
    first = write_map(tmp_path / "first.nii.gz", volume, maps)
    second = write_map(tmp_path / "second.nii.gz", volume, maps)
    assert first.read_bytes() == second.read_bytes()
    np.testing.assert_array_equal(nibabel.load(first).get_fdata(), maps.T)
    assert gzip.decompress(first.read_bytes())[344:348] == b"n+1\0"


def test_map_refusals(tmp_path):
    volume = read(save(tmp_path / "a.nii", np.ones((7, 6, 2), np.float32)))
    good = np.ones((2, 6, 7), np.float32)
    with pytest.raises(ReadError, match=r"map\.png: maps are written as NIfTI"):
        write_map(tmp_path / "map.png", volume, good)
    for maps in (good[:1], np.ones((3, 6, 7), np.float32)):
        with pytest.raises(ValueError, match=r"[13] maps for the 2 slices"):
            write_map(tmp_path / "map.nii", volume, maps)
    with pytest.raises(ValueError, match=r"map 0 has shape \(7, 6\), the slices \(6, 7\)"):
        write_map(tmp_path / "map.nii", volume, np.ones((2, 7, 6), np.float32))
    assert [file.name for file in tmp_path.iterdir()] == ["a.nii"]
    write_map(tmp_path / "map.nii", volume, good)
    with pytest.raises(FileExistsError, match=r"map\.nii exists: choose another name or pass --force"):
        write_map(tmp_path / "map.nii", volume, good)
    write_map(tmp_path / "map.nii", volume, 2 * good, force=True)
    assert nibabel.load(tmp_path / "map.nii").get_fdata().min() == 2
