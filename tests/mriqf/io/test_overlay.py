"""The picture of a quality map."""

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from mriqf.io import write_overlay
from mriqf.io.overlay import COLOURS, MARGIN, TEXT

TOP = TEXT + 2 * MARGIN
SIZE = 300  # larger than the least size: pixels are drawn as they are


def picture(path, image, quality, foreground=None, *, rows_up=False, title="slice 3"):
    write_overlay(path, image, quality, foreground, rows_up=rows_up, title=title)
    with Image.open(path) as png:
        pixels = np.asarray(png)
    h, w = quality.shape
    left, right = MARGIN, 2 * MARGIN + w
    return pixels[TOP : TOP + h, left : left + w], pixels[TOP : TOP + h, right : right + w]


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(size=(SIZE, SIZE)).astype(np.float32)


def test_colours_only_in_the_foreground(tmp_path, image):
    quality = np.full((SIZE, SIZE), 100, np.float32)
    quality[:, :10] = np.nan
    foreground = np.zeros((SIZE, SIZE), bool)
    foreground[:200] = True
    plain, covered = picture(tmp_path / "a.png", image, quality, foreground)
    np.testing.assert_array_equal(plain, np.rint(255 * image[..., None].repeat(3, -1)))
    np.testing.assert_array_equal(covered[200:], plain[200:])
    np.testing.assert_array_equal(covered[:, :10], plain[:, :10])
    best = np.array(colormaps[COLOURS](255, bytes=True)[:3])
    np.testing.assert_allclose(covered[:200, 10:], (255 * image[:200, 10:, None] + best) / 2, atol=0.51)


def test_rows_up(tmp_path, image):
    quality = np.linspace(0, 100, SIZE**2, dtype=np.float32).reshape(SIZE, SIZE)
    down = picture(tmp_path / "down.png", image, quality)
    up = picture(tmp_path / "up.png", image, quality, rows_up=True)
    for panel_down, panel_up in zip(down, up, strict=True):
        np.testing.assert_array_equal(panel_up, panel_down[::-1])


def test_rgb(tmp_path):
    image = np.random.default_rng(0).uniform(size=(3, SIZE, SIZE)).astype(np.float32)
    plain, covered = picture(tmp_path / "a.png", image, np.full((SIZE, SIZE), np.nan, np.float32))
    np.testing.assert_array_equal(plain, np.rint(255 * image.transpose(1, 2, 0)))
    np.testing.assert_array_equal(covered, plain)


def test_small_images_are_enlarged_and_titles_cut(tmp_path):
    ones = np.ones((20, 30), np.float32)
    write_overlay(tmp_path / "a.png", ones, ones, None, rows_up=True, title="long\n" * 100)
    with Image.open(tmp_path / "a.png") as png:
        assert png.width > 2 * 256
        assert png.height == TOP + 9 * 20 + 2 * MARGIN


def test_refusals(tmp_path, image):
    quality = np.ones((SIZE, SIZE), np.float32)
    with pytest.raises(ValueError, match="do not fit together"):
        write_overlay(tmp_path / "a.png", np.stack([image, image]), quality, None, rows_up=False, title="")
    assert list(tmp_path.iterdir()) == []
    write_overlay(tmp_path / "a.png", image, quality, None, rows_up=False, title="")
    with pytest.raises(FileExistsError, match="pass --force"):
        write_overlay(tmp_path / "a.png", image, quality, None, rows_up=False, title="")
    write_overlay(tmp_path / "a.png", image, quality, None, rows_up=False, title="", force=True)
