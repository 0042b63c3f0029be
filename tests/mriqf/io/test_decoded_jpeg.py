"""Pictures that were JPEG before: tables and grid are read from pixels that were cropped, mirrored or turned."""

import numpy as np
import pytest
import torch
from PIL import Image

from mriqf.io.decoded_jpeg import read_decoded
from mriqf.jpeg import compress_pixels, tables


@pytest.fixture
def saved(tmp_path):
    def save(pixels, name="picture.png"):
        Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / name)
        return tmp_path / name

    return save


@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize("change", ["cropped", "mirrored", "turned", "turned and cropped"])
def test_quality_and_grid_survive_what_keeps_pixels(natural, saved, channels, change):
    grey = natural(128, 160)
    pixels = grey if channels is None else np.stack([grey, grey[::-1], grey[:, ::-1]], -1)
    decoded = compress_pixels(pixels, 55)
    if "turned" in change:
        decoded = np.rot90(decoded)
    if change == "mirrored":
        decoded = decoded[:, ::-1]
    top, left = (3, 6) if "cropped" in change else (0, 0)
    read = read_decoded(saved(decoded[top:, left:]))
    assert (read.quality, read.margins) == (55, (top, left))
    expected = tables(55, channels or 1)
    if "turned" in change:
        expected = expected.transpose(1, 2)
    assert (read.jpeg.tables == expected.numpy()).all()
    assert read.jpeg.pixels.shape[1:] == decoded.shape[:2]


def test_what_was_never_compressed_or_is_too_small_is_said_in_one_line(natural, saved):
    for pixels in (natural(), natural(128, 96)):
        with pytest.raises(ValueError, match="shows no JPEG compression, or was resized since: give the JPEG file"):
            read_decoded(saved(pixels))
    with pytest.raises(ValueError, match="has 12×40 pixels, too few"):
        read_decoded(saved(natural()[:12, :40]))


def test_garish_colours_that_were_clipped_hide_nothing(natural):
    """Luma shows no clipping of single channels: their blocks are off the lattice, and often those with most detail."""
    from mriqf.jpeg.lattice import luma_lattice

    pixels = np.stack([natural(256, 256, seed=k) for k in range(3)], -1).astype(float)
    pixels[:, 64:] = 128 + 3.5 * (pixels[:, 64:] - 128)
    decoded = compress_pixels(pixels.clip(0, 255).astype(np.uint8), 60)
    image = torch.from_numpy(decoded.copy()).permute(2, 0, 1) / 255
    assert luma_lattice(image, 128).quality == 60
