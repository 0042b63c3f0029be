"""DICOM: pydicom's own files, and series made of them."""

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from mriqf.io import ReadError, read, write_map

SMALL = get_testdata_file("MR_small.dcm")
TILTED = [0.8, 0.6, 0, 0, 0, -1]  # rows along (0.8, 0.6, 0), columns downwards
NORMAL = np.cross(TILTED[:3], TILTED[3:])


def write(path, values, **attributes):
    """Write 16-bit pixels into a copy of pydicom's MR file; None deletes an attribute."""
    dataset = pydicom.dcmread(SMALL)
    values = np.asarray(values)
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.PixelData = values.astype("<i2").tobytes()
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


def write_series(folder, n_z=4, n_t=1, **attributes):
    """Write slices 2.5 mm apart whose pixels say (t, z), under names in no order."""
    folder.mkdir(exist_ok=True)
    number = 0
    for t in range(n_t):
        for z in range(n_z):
            number += 1
            position = [10.0, 20.0, 30.0] + 2.5 * z * NORMAL
            values = np.arange(30).reshape(5, 6) + 100 * z + 1000 * t
            place = {
                "ImagePositionPatient": list(position),
                "ImageOrientationPatient": TILTED,
                "PixelSpacing": [1.5, 0.5],
                "InstanceNumber": number,
            }
            write(folder / f"{(number * 7) % 11}.dcm", values, **(place | attributes))
    (folder / "notes.txt").write_text("no DICOM")
    (folder / "empty").touch()
    return folder


def test_mr_small():
    volume = read(SMALL)
    dataset = pydicom.dcmread(SMALL)
    assert (volume.shape, volume.channels, volume.n_slices, volume.rows_up) == ((64, 64), 1, 1, False)
    np.testing.assert_array_equal(volume.read_slice(0)[0], dataset.pixel_array)
    np.testing.assert_allclose(np.abs(np.diag(volume.affine)), [0.3125, 0.3125, dataset.SliceThickness, 1])
    np.testing.assert_allclose(volume.affine[:3, 3], np.array(dataset.ImagePositionPatient) * [-1, -1, 1])


@pytest.mark.parametrize("name", ["MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm"])
def test_encodings(name):
    np.testing.assert_array_equal(read(get_testdata_file(name)).read_slice(0), read(SMALL).read_slice(0))


def test_without_preamble(tmp_path):
    dataset = pydicom.dcmread(SMALL)
    (tmp_path / "a").write_bytes(Path(SMALL).read_bytes()[132:])
    np.testing.assert_array_equal(read(tmp_path / "a").read_slice(0)[0], dataset.pixel_array)
    bare = dataset.file_meta.FileMetaInformationGroupLength + 132 + 12
    (tmp_path / "b").write_bytes(Path(SMALL).read_bytes()[bare:])
    np.testing.assert_array_equal(read(tmp_path / "b").read_slice(0)[0], dataset.pixel_array)


def test_series_is_sorted_by_position(tmp_path):
    volume = read(write_series(tmp_path / "series"))
    assert (volume.n_slices, volume.grid, volume.shape) == (4, (4,), (5, 6))
    assert volume.source == str(tmp_path / "series")
    for z in range(4):
        np.testing.assert_array_equal(volume.read_slice(z)[0], np.arange(30).reshape(5, 6) + 100 * z)
    column, row, z = 4, 3, 2
    patient = [10, 20, 30] + 0.5 * column * np.array(TILTED[:3]) + 1.5 * row * np.array(TILTED[3:]) + 2.5 * z * NORMAL
    np.testing.assert_allclose(volume.affine @ [column, row, z, 1], [-patient[0], -patient[1], patient[2], 1])


def test_instance_numbers_against_positions(tmp_path):
    """Positions win; without them, the instances' numbers order the series, and it has no place in space."""
    series = write_series(tmp_path / "series")
    for file in series.glob("*.dcm"):
        dataset = pydicom.dcmread(file)
        dataset.InstanceNumber = 10 - dataset.InstanceNumber
        dataset.save_as(file)
    assert [read(series).read_slice(z)[0, 0, 0] for z in range(4)] == [0, 100, 200, 300]
    for file in series.glob("*.dcm"):
        dataset = pydicom.dcmread(file)
        del dataset.ImagePositionPatient
        dataset.save_as(file)
    volume = read(series)
    assert [volume.read_slice(z)[0, 0, 0] for z in range(4)] == [300, 200, 100, 0]
    np.testing.assert_array_equal(volume.affine, np.eye(4))


def test_series_in_time(tmp_path):
    volume = read(write_series(tmp_path / "series", n_z=3, n_t=2))
    assert volume.grid == (3, 2)
    assert [volume.read_slice(i)[0, 0, 0] for i in range(6)] == [0, 100, 200, 1000, 1100, 1200]


def test_localiser(tmp_path):
    """Planes that are not parallel share no grid: order of acquisition, identity."""
    series = write_series(tmp_path / "series", n_z=2)
    write(series / "other.dcm", np.full((5, 6), 7), ImageOrientationPatient=[1, 0, 0, 0, 1, 0], InstanceNumber=0)
    volume = read(series)
    assert [volume.read_slice(i)[0, 0, 0] for i in range(3)] == [7, 0, 100]
    np.testing.assert_array_equal(volume.affine, np.eye(4))


def test_map_of_a_series(tmp_path):
    volume = read(write_series(tmp_path / "series"))
    path = write_map(tmp_path / "map.nii.gz", volume, (volume.read_slice(i)[0] for i in range(4)))
    image = nibabel.load(path)
    np.testing.assert_allclose(image.affine, volume.affine, atol=1e-5)
    assert image.get_fdata()[4, 3, 2] == 3 * 6 + 4 + 200  # column, row, slice


def test_mixed_series(tmp_path):
    series = write_series(tmp_path / "series")
    write(series / "other.dcm", np.ones((5, 6)), SeriesInstanceUID=generate_uid())
    with pytest.raises(ReadError, match=r"series: mixes 2 series \(SeriesInstanceUID\): put each"):
        read(series)


def test_mixed_sizes(tmp_path):
    series = write_series(tmp_path / "series")
    write(series / "other.dcm", np.ones((6, 6)))
    with pytest.raises(ReadError, match=r"series: mixes images of 2 sizes or colours"):
        read(series)


def test_no_images(tmp_path):
    for folder in (tmp_path / "empty", tmp_path / "texts"):
        folder.mkdir()
    (tmp_path / "texts" / "a.txt").write_text("no DICOM")
    for path in (tmp_path / "empty", tmp_path / "texts", Path(get_testdata_file("reportsi.dcm"))):
        with pytest.raises(ReadError) as error:
            read(path)
        assert str(error.value).startswith(f"{path}: no DICOM image is in it")


def test_rescale(tmp_path):
    values = np.arange(30).reshape(5, 6)
    path = write(tmp_path / "a.dcm", values, RescaleSlope=0.5, RescaleIntercept=-10)
    np.testing.assert_allclose(read(path).read_slice(0)[0], 0.5 * values - 10)


@pytest.mark.parametrize(("signed", "bits", "expected"), [(0, 12, 4095), (1, 16, -1)])
def test_white_is_lowest(tmp_path, signed, bits, expected):
    values = np.arange(30).reshape(5, 6)
    attributes = {"PixelRepresentation": signed, "BitsStored": bits, "HighBit": bits - 1}
    path = write(tmp_path / "a.dcm", values, PhotometricInterpretation="MONOCHROME1", **attributes)
    np.testing.assert_array_equal(read(path).read_slice(0)[0], expected - values)


@pytest.mark.parametrize("name", ["SC_rgb_rle_2frame.dcm", "SC_rgb_small_odd.dcm", "SC_rgb_jpeg_dcmtk.dcm"])
def test_colour(name):
    frames = pydicom.pixels.pixel_array(get_testdata_file(name))
    volume = read(get_testdata_file(name))
    frames = frames.reshape(-1, *frames.shape[-3:])
    assert (volume.n_slices, volume.channels) == (len(frames), 3)
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(volume.read_slice(index), frame.transpose(2, 0, 1))


def test_palette():
    with pytest.raises(ReadError, match=r"its colours are PALETTE COLOR, neither grey nor RGB"):
        read(get_testdata_file("examples_palette.dcm"))


def test_missing_decoder():
    name = get_testdata_file("MR_small_jpeg_ls_lossless.dcm")
    if pydicom.pixels.get_decoder(pydicom.uid.JPEGLSLossless).is_available:
        np.testing.assert_array_equal(read(name).read_slice(0), read(SMALL).read_slice(0))
    else:
        with pytest.raises(ReadError, match=r"compressed as JPEG-LS Lossless .* pip install python-gdcm"):
            read(name)


def groups(position=None, scale=None):
    """Functional groups of one frame of an enhanced file."""
    item = Dataset()
    if position is not None:
        item.PlanePositionSequence = Sequence([Dataset()])
        item.PlanePositionSequence[0].ImagePositionPatient = list(position)
        item.PixelValueTransformationSequence = Sequence([Dataset()])
        item.PixelValueTransformationSequence[0].RescaleSlope = scale
        item.PixelValueTransformationSequence[0].RescaleIntercept = 1
    else:
        item.PlaneOrientationSequence = Sequence([Dataset()])
        item.PlaneOrientationSequence[0].ImageOrientationPatient = TILTED
        item.PixelMeasuresSequence = Sequence([Dataset()])
        item.PixelMeasuresSequence[0].PixelSpacing = [1.5, 0.5]
    return item


def test_enhanced(tmp_path):
    """Frames carry their own position and slope, and may be stored from the top down."""
    values = np.arange(90).reshape(3, 5, 6)
    absent = ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"]
    path = write(
        tmp_path / "a.dcm",
        values,
        NumberOfFrames=3,
        SharedFunctionalGroupsSequence=Sequence([groups()]),
        PerFrameFunctionalGroupsSequence=Sequence([groups(2.0 * (2 - z) * NORMAL, 2 + z) for z in range(3)]),
        **dict.fromkeys(absent),
    )
    volume = read(path)
    assert (volume.n_slices, volume.grid) == (3, (3,))
    for z in range(3):
        np.testing.assert_allclose(volume.read_slice(z)[0], values[2 - z] * (4 - z) + 1)
    np.testing.assert_allclose(volume.affine[:3, 2], 2.0 * NORMAL * [-1, -1, 1], atol=1e-12)
    np.testing.assert_allclose(volume.affine[:3, 3], 0, atol=1e-12)
