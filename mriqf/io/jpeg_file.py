"""Reading of JPEG files: pixels, quantisation tables and, optionally, quantised coefficients.

References
----------
ITU-T T.81 (1992), annex B (markers); ITU-T T.871 (2011), the JPEG file interchange format.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int16, UInt8
from PIL import Image, UnidentifiedImageError

from mriqf.io.bounds import check_claim, check_regular, stored_bytes
from mriqf.io.raster import check_scans, limited
from mriqf.io.volume import ReadError, reading

HEADER = 2**24  # bytes in which the image must start
_SAMPLING = {
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (2, 2): "4:2:0",
    (1, 2): "4:4:0",
    (4, 1): "4:1:1",
    (4, 2): "4:1:0",
}


@dataclass(frozen=True, eq=False)
class JPEGFile:
    """Pixels, tables and coefficients of a JPEG file.

    Attributes
    ----------
    pixels
        Grey levels or RGB, 0–255, as Pillow decodes them: the colours as coded, no rotation applied.
    tables
        Quantisation steps in natural order: of luma; for colours also of chroma; of Cr behind Cb only if they differ.
    coefficients
        Quantised DCT coefficients of each component, Y or Y, Cb, Cr: multiples of the steps, block by block, a row for
        each vertical frequency. Blocks that fill up the image's edges are included. None if they were not asked for.
    sampling
        ``"grey"``, or the resolution of chroma: ``"4:4:4"`` (full), ``"4:2:0"`` (half in both directions) and so on.
    """

    pixels: UInt8[np.ndarray, "ch h w"]
    tables: Int[np.ndarray, "t 8 8"]
    coefficients: tuple[Int16[np.ndarray, "_ _ 8 8"], ...] | None
    sampling: str


def read_jpeg(path: str | Path, coefficients: bool = True) -> JPEGFile:
    """Read a grey or Y, Cb, Cr file of 8 bit, baseline or progressive.

    Parameters
    ----------
    path
        File, whatever its name ends in.
    coefficients
        Read those too, with jpeglib; pixels and tables need Pillow alone.

    Raises
    ------
    ReadError
        If the file is no such JPEG, or broken.
    ImportError
        If coefficients are asked for and jpeglib is missing.
    """
    path = Path(path)
    with reading(path):
        check_regular(path)
        with path.open("rb") as file:
            _check_coding(path, file.read(HEADER))
        try:
            with limited():
                image = Image.open(path, formats=("JPEG",))
        except UnidentifiedImageError:
            raise ReadError(f"{path}: has a broken JPEG header: export or download it again") from None
        with image:
            _check_colours(path, image)
            check_scans(path, image)
            check_claim(path, 1, 1, (image.height, image.width), stored_bytes(path))
            pixels = np.asarray(image)
            layers = [tuple(layer) for layer in image.layer]  # pyright: ignore[reportAttributeAccessIssue]
            steps = image.quantization  # pyright: ignore[reportAttributeAccessIssue]
    tables = np.array([steps[layer[3]] for layer in layers]).reshape(-1, 8, 8)
    if len(tables) == 3 and np.array_equal(tables[1], tables[2]):
        tables = tables[:2]
    pixels = pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    return JPEGFile(pixels, tables, _read_coefficients(path) if coefficients else None, _sampling(layers))


def _check_coding(path: Path, data: bytes) -> None:
    """Raise ReadError unless the frame marker is that of a baseline or progressive 8-bit JPEG."""
    if data[:2] != b"\xff\xd8":
        raise ReadError(f"{path}: is no JPEG file: convert it, or read it with mriqf.read")
    position = 2
    while position + 4 < len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            break
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    else:
        raise ReadError(f"{path}: ends, or breaks off, before its image starts: export or download it again")
    if marker > 0xC8:
        raise ReadError(f"{path}: is coded arithmetically: rewrite it losslessly, e.g. jpegtran -optimize")
    if marker not in (0xC0, 0xC1, 0xC2):
        raise ReadError(f"{path}: is coded without loss or in a hierarchy: export it as baseline JPEG")
    if (bits := data[position + 4]) != 8:
        raise ReadError(f"{path}: has samples of {bits} bit, not 8: export it in 8 bit")


def _check_colours(path: Path, image: Image.Image) -> None:
    """Raise ReadError for files whose components are not luma and chroma, by the rules of libjpeg."""
    if image.mode not in ("L", "RGB"):
        raise ReadError(f"{path}: its colours are {image.mode}, neither grey nor RGB: convert it to RGB first")
    ids = [layer[0] for layer in image.layer]  # pyright: ignore[reportAttributeAccessIssue]
    untouched = image.info["adobe_transform"] == 0 if "adobe_transform" in image.info else ids == [*b"RGB"]
    if len(ids) == 3 and "jfif" not in image.info and untouched:
        raise ReadError(f"{path}: codes red, green and blue, not luma and chroma: save it again as an ordinary JPEG")


def _sampling(layers: list[tuple[int, ...]]) -> str:
    if len(layers) == 1:
        return "grey"
    (_, h, v, _), *chroma = layers
    (_, ch, cv, _), *rest = chroma
    alike = all(layer[1:3] == (ch, cv) for layer in rest)
    label = _SAMPLING.get((h // ch, v // cv)) if alike and h % ch == v % cv == 0 else None
    return label or ",".join(f"{layer[1]}x{layer[2]}" for layer in layers)


def _read_coefficients(path: Path) -> tuple[Int16[np.ndarray, "_ _ 8 8"], ...]:
    try:
        import jpeglib
    except ImportError as error:
        raise ImportError("read_jpeg needs jpeglib for coefficients: pip install jpeglib") from error
    with reading(path):
        coded = jpeglib.read_dct(str(path))
        planes = (coded.Y, coded.Cb, coded.Cr) if coded.has_chrominance else (coded.Y,)
    return tuple(np.array(plane, dtype=np.int16) for plane in planes)
