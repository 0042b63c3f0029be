"""JPEG files: what is read is what was coded; what is no ordinary JPEG is refused in one line."""

import builtins
import io

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from mriqf.io.jpeg_file import read_jpeg
from mriqf.io.volume import ReadError

STEPS = [[1 + 3 * k for k in range(64)], [2 + 2 * k for k in range(64)]]  # equal to their transpose nowhere


@pytest.fixture
def save(tmp_path):
    """Write pixels as a JPEG whose name does not say so."""

    def to(pixels, mode=None, **options):
        path = tmp_path / "a.bin"
        image = Image.fromarray(pixels)
        (image.convert(mode) if mode else image).save(path, "JPEG", **options)
        return path

    return to


def blocks(plane):
    """Orthonormal DCT of each whole block."""
    h, w = (n // 8 * 8 for n in plane.shape)
    cut = plane[:h, :w].reshape(h // 8, 8, w // 8, 8).transpose(0, 2, 1, 3).astype(float)
    return dctn(cut - 128, axes=(2, 3), norm="ortho")


@pytest.mark.parametrize("progressive", [False, True])
def test_grey(texture, save, progressive):
    path = save(texture(43, 69) // 2 + 64, qtables=STEPS[:1], progressive=progressive)
    jpeg = read_jpeg(path)
    assert jpeg.sampling == "grey"
    np.testing.assert_array_equal(jpeg.tables, np.reshape(STEPS[:1], (1, 8, 8)))
    with Image.open(path, formats=("JPEG",)) as image:
        np.testing.assert_array_equal(jpeg.pixels, np.asarray(image)[None])
    assert jpeg.coefficients is not None
    (coefficients,) = jpeg.coefficients
    assert coefficients.shape == (6, 9, 8, 8)
    # Nothing is clipped in this image: but for rounding, the DCT of its pixels is that of the file.
    decoded = blocks(jpeg.pixels[0])
    assert np.abs(coefficients[:5, :8] * jpeg.tables[0] - decoded).max() < 3
    assert np.abs(coefficients[:5, :8].swapaxes(2, 3) * jpeg.tables[0].T - decoded).max() > 20


@pytest.mark.parametrize(
    ("subsampling", "sampling", "chroma"), [(0, "4:4:4", (5, 9)), (1, "4:2:2", (5, 5)), (2, "4:2:0", (3, 5))]
)
@pytest.mark.parametrize("progressive", [False, True])
def test_colour(texture, save, subsampling, sampling, chroma, progressive):
    path = save(texture(40, 72, channels=3) // 2 + 64, qtables=STEPS, subsampling=subsampling, progressive=progressive)
    jpeg = read_jpeg(path)
    assert jpeg.sampling == sampling
    np.testing.assert_array_equal(jpeg.tables, np.reshape(STEPS, (2, 8, 8)))
    assert jpeg.coefficients is not None
    assert [c.shape[:2] for c in jpeg.coefficients[1:]] == [chroma] * 2
    with Image.open(path, formats=("JPEG",)) as image:
        image.draft("YCbCr", image.size)
        planes = np.moveaxis(np.asarray(image), -1, 0)
    for k in range(3 if sampling == "4:4:4" else 1):  # the decoder has filtered chroma of lower resolution
        coded = jpeg.coefficients[k][:5, :9] * jpeg.tables[min(k, 1)]
        assert np.abs(coded - blocks(planes[k])).max() < 3


def test_pixels_and_tables_need_no_jpeglib(texture, save, monkeypatch):
    path = save(texture(16, 16, channels=3), quality=30)
    load = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "jpeglib":
            raise ModuleNotFoundError("No module named 'jpeglib'", name="jpeglib")
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    jpeg = read_jpeg(path, coefficients=False)
    assert jpeg.coefficients is None
    assert jpeg.pixels.shape == (3, 16, 16)
    assert jpeg.tables.shape == (2, 8, 8)
    with pytest.raises(ImportError, match="read_jpeg needs jpeglib for coefficients: pip install jpeglib"):
        read_jpeg(path)


def test_one_table_for_all(texture, save):
    jpeg = read_jpeg(save(texture(16, 16, channels=3), qtables=STEPS[:1]), coefficients=False)
    np.testing.assert_array_equal(jpeg.tables, np.reshape([STEPS[0]] * 2, (2, 8, 8)))


def frame(path):
    """The file's bytes, and where its frame header starts."""
    data = bytearray(path.read_bytes())
    return data, data.index(b"\xff\xc0")


def test_refuses_what_is_no_ordinary_jpeg(texture, save, tmp_path):
    pixels = texture(32, 32, channels=3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    plain, start = frame(save(pixels))
    deep, arithmetic, lossless = plain.copy(), plain.copy(), plain.copy()
    deep[start + 4], arithmetic[start + 1], lossless[start + 1] = 12, 0xC9, 0xC3
    cases = {
        "is no JPEG file: convert it": buffer.getvalue(),
        "before its image starts": plain[: start - 5],
        "samples of 12 bit": deep,
        "coded arithmetically": arithmetic,
        "without loss or in a hierarchy": lossless,
        "its colours are CMYK": save(pixels, mode="CMYK").read_bytes(),
        "codes red, green and blue": save(pixels, keep_rgb=True).read_bytes(),
        "(?i)truncated": plain[: len(plain) * 2 // 3],
    }
    for number, (cause, data) in enumerate(cases.items()):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(bytes(data))
        with pytest.raises(ReadError, match=cause) as caught:
            read_jpeg(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ReadError, match=r"missing\.jpg: does not exist: check the path"):
        read_jpeg(tmp_path / "missing.jpg")
