"""Pictures: PNG, JPEG, WebP and, with a slice per page, TIFF."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from mriqf.io.bounds import PIXELS, check_claim, stored_bytes
from mriqf.io.volume import ReadError, Volume, reading, stack

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP")
GREY = {"1": "L", "L": "L", "LA": "L", "La": "L", "F": "F", "I": "I"}  # Pillow's mode to the mode that is read
PAGES = 2048  # of a TIFF: to read one, all before it are passed
SCANS = 500  # of a progressive JPEG; some ten are usual
COLOUR = {"P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr"}


def read_raster(path: Path) -> Volume:
    """Volume in a picture: grey of any depth as it is, colours as RGB 0 to 255, grey saved as RGB as grey.

    Transparency is dropped. A rotation noted in a photograph's tags is not applied: it would move the pixels
    away from the 8 × 8 grid on which JPEG compressed them.
    """
    with reading(path), _open(path) as image:
        n_pages = _count_pages(path, image) if image.format == "TIFF" else 1
        first = _pixels(image, path)
    grey = first.ndim == 2 or (n_pages == 1 and (first == first[:1]).all())
    channels = 1 if grey else 3

    def load(index: int) -> Shaped[np.ndarray, "..."]:
        with _open(path) as image:
            image.seek(index)
            pixels = _pixels(image, path)
        return pixels[:channels] if pixels.ndim == 3 else pixels

    return stack(path, load, first.shape[-2:], grid=(n_pages,), channels=channels)


@contextmanager
def limited() -> Iterator[None]:
    """Limit the pictures that Pillow decodes to `PIXELS`."""
    before = Image.MAX_IMAGE_PIXELS
    try:
        Image.MAX_IMAGE_PIXELS = PIXELS
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def check_scans(path: Path, image: Image.Image) -> None:
    """Raise ReadError for a progressive JPEG of very many scans: each costs a pass over the picture."""
    if not image.info.get("progressive"):
        return
    with path.open("rb") as file:
        scans = sum(block.count(b"\xff\xda") for block in iter(lambda: file.read(2**20), b""))
    if scans > SCANS:
        raise ReadError(f"{path}: is coded in more than {SCANS} scans: save it again as an ordinary JPEG")


def _open(path: Path) -> Image.Image:
    with limited():
        try:
            return Image.open(path, formats=FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise ReadError(f"{path}: claims more than {PIXELS} pixels in one picture: cut it in parts") from None


def _count_pages(path: Path, image: Image.Image) -> int:
    """Number of pages of a TIFF; they can only be counted one after the other."""
    for page in range(1, PAGES + 1):
        try:
            image.seek(page)
        except EOFError:
            image.seek(0)
            return page
    raise ReadError(f"{path}: has more than {PAGES} pages: cut it in parts")


def _pixels(image: Image.Image, path: Path) -> Shaped[np.ndarray, "..."]:
    """Page as ``(h, w)`` when its mode is grey, as ``(3, h, w)`` when it has colours."""
    check_scans(path, image)
    check_claim(path, 1, 1, (image.height, image.width), stored_bytes(path))
    mode = image.mode
    if mode in GREY or mode.startswith("I;16"):
        return np.asarray(image if GREY.get(mode, mode) == mode else image.convert(GREY[mode]))
    if mode in COLOUR:
        return np.moveaxis(np.asarray(image.convert("RGBA" if mode in ("P", "PA") else "RGB"))[..., :3], -1, 0)
    raise ReadError(f"{path}: its colours are {mode}, neither grey nor RGB: convert it to RGB first")
