"""Pictures through Pillow."""

import numpy as np
import pytest
from PIL import Image

from mriqf.io import ReadError, read

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (16, 24), np.uint8)
COLOUR = RNG.integers(0, 255, (16, 24, 3), np.uint8)


def save(path, array, mode=None, **options):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("8.png", GREY),
        ("16.png", GREY.astype(np.uint16) * 257),
        ("8.tif", GREY),
        ("16.tif", GREY.astype(np.uint16) * 257),
        ("32.tif", GREY.astype(np.int32) * 65537),
        ("float.tif", GREY.astype(np.float32) / 7),
        ("1.png", GREY > 100),
    ],
)
def test_grey(tmp_path, name, array):
    volume = read(save(tmp_path / name, array))
    assert (volume.n_slices, volume.shape, volume.channels) == (1, (16, 24), 1)
    expected = array * 255 if array.dtype == bool else array
    np.testing.assert_array_equal(volume.read_slice(0)[0], expected.astype(np.float32))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.webp"])
def test_colour(tmp_path, name):
    path = save(tmp_path / name, COLOUR)
    with Image.open(path) as image:
        decoded = np.asarray(image)
    volume = read(path)
    assert (volume.shape, volume.channels) == ((16, 24), 3)
    np.testing.assert_array_equal(volume.read_slice(0), decoded.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["RGBA", "RGB"])
def test_grey_saved_as_colour(tmp_path, mode):
    volume = read(save(tmp_path / "a.png", GREY, mode))
    np.testing.assert_array_equal(volume.read_slice(0), GREY[None])


def test_transparency_is_dropped(tmp_path):
    array = np.concatenate([COLOUR, GREY[..., None]], axis=-1)
    np.testing.assert_array_equal(read(save(tmp_path / "a.png", array)).read_slice(0), COLOUR.transpose(2, 0, 1))


def test_palette(tmp_path):
    path = save(tmp_path / "a.png", COLOUR, "P")
    with Image.open(path) as image:
        assert image.mode == "P"
        expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(read(path).read_slice(0), expected)


@pytest.mark.parametrize("pages", [np.stack([GREY, GREY // 2, GREY // 3]), np.stack([COLOUR, COLOUR // 2])])
def test_pages(tmp_path, pages):
    first, *others = map(Image.fromarray, pages)
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    volume = read(tmp_path / "a.tif")
    assert (volume.n_slices, volume.channels) == (len(pages), 1 if pages.ndim == 3 else 3)
    for index, page in enumerate(pages):
        expected = page[None] if page.ndim == 2 else page.transpose(2, 0, 1)
        np.testing.assert_array_equal(volume.read_slice(index), expected)


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_printing_colours(tmp_path, name):
    with pytest.raises(ReadError, match=r"its colours are CMYK, neither grey nor RGB: convert it to RGB first"):
        read(save(tmp_path / name, COLOUR, "CMYK"))


@pytest.mark.parametrize("limit", [10, 300])  # 384 pixels: beyond twice the limit, or between once and twice
def test_decompression_bomb(tmp_path, monkeypatch, limit):
    path = save(tmp_path / "a.png", GREY)
    monkeypatch.setattr("mriqf.io.raster.PIXELS", limit)
    with pytest.raises(ReadError, match=rf"a\.png: claims more than {limit} pixels"):
        read(path)
