"""Pictures: PNG, JPEG, WebP and, with a slice per page, TIFF."""

import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from mriqf.io.volume import ReadError, Volume, reading, stack

GREY = {"1": "L", "L": "L", "LA": "L", "La": "L", "F": "F", "I": "I"}  # Pillow's mode to the mode that is read
COLOUR = {"P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr"}


def read_raster(path: Path) -> Volume:
    """Volume in a picture: grey of any depth as it is, colours as RGB 0 to 255, grey saved as RGB as grey.

    Transparency is dropped. A rotation noted in a photograph's tags is not applied: it would move the pixels
    away from the 8 × 8 grid on which JPEG compressed them.
    """
    with reading(path), _open(path) as image:
        n_pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
        first = _pixels(image, path)
    grey = first.ndim == 2 or (n_pages == 1 and (first == first[:1]).all())
    channels = 1 if grey else 3

    def load(index: int) -> Shaped[np.ndarray, "..."]:
        with _open(path) as image:
            image.seek(index)
            pixels = _pixels(image, path)
        return pixels[:channels] if pixels.ndim == 3 else pixels

    return stack(path, load, first.shape[-2:], grid=(n_pages,), channels=channels)


def _open(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return Image.open(path, formats=("PNG", "JPEG", "TIFF", "WEBP"))
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise ReadError(
                f"{path}: claims more than {Image.MAX_IMAGE_PIXELS} pixels in one picture: cut it in parts"
            ) from None


def _pixels(image: Image.Image, path: Path) -> Shaped[np.ndarray, "..."]:
    """Page as ``(h, w)`` when its mode is grey, as ``(3, h, w)`` when it has colours."""
    mode = image.mode
    if mode in GREY or mode.startswith("I;16"):
        return np.asarray(image if GREY.get(mode, mode) == mode else image.convert(GREY[mode]))
    if mode in COLOUR:
        return np.moveaxis(np.asarray(image.convert("RGBA" if mode in ("P", "PA") else "RGB"))[..., :3], -1, 0)
    raise ReadError(f"{path}: its colours are {mode}, neither grey nor RGB: convert it to RGB first")
