"""Picture of a quality map: the image, and beside it the image with the map overlaid in colour."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image, ImageDraw, ImageFont

from mriqf.io.atomic import atomic_path

COLOURS = "viridis"  # even in lightness, and told apart by the colour-blind
OPACITY = 0.5
MARGIN, TEXT, BAR = 8, 14, 16  # pixels: around everything, height of letters, width of the colour bar
PANEL = 256  # least side of each image in the picture, in pixels


def write_overlay(
    path: str | Path,
    image: Float32[np.ndarray, "*ch h w"],
    quality: Float32[np.ndarray, "h w"],
    foreground: Bool[np.ndarray, "h w"] | None,
    *,
    rows_up: bool,
    title: str,
    force: bool = False,
) -> Path:
    """Write a PNG that shows a slice, the same slice under its quality map, and the colour bar of the map.

    Parameters
    ----------
    path
        PNG file to write.
    image
        Slice in [0, 1], ``(h, w)`` for grey or ``(3, h, w)`` for RGB; values outside are clipped.
    quality
        Quality of each pixel, 0 (worst) to 100; NaN where there is none.
    foreground
        Pixels that the map is shown in; all that have a quality when None.
    rows_up
        Row 0 is at the bottom of the picture; see `Volume`.
    title
        One line above the images, cut where they end.
    force
        Replace an existing file.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    FileExistsError
        When the file exists and ``force`` is not given.
    ValueError
        When image, quality and foreground differ in height or width, or the image has neither 1 nor 3 channels.
    """
    path = Path(path)
    grey = image[None] if image.ndim == 2 else image
    shown = np.isfinite(quality) if foreground is None else np.isfinite(quality) & foreground
    if len(grey) not in (1, 3) or grey.shape[1:] != quality.shape or shown.shape != quality.shape:
        raise ValueError(f"{path}: image {image.shape}, quality {quality.shape} and foreground do not fit together")
    table = _colour_table()
    plain = np.clip(np.broadcast_to(grey, (3, *quality.shape)), 0, 1).transpose(1, 2, 0) * 255.0
    levels = np.where(shown, np.clip(quality, 0, 100), 0) * 2.55
    covered = (1 - OPACITY) * plain + OPACITY * table[np.rint(levels).astype(np.intp)]
    panels = [np.rint(panel).astype(np.uint8) for panel in (plain, np.where(shown[..., None], covered, plain))]
    with atomic_path(path, force) as temporary:
        _compose([panel[::-1] if rows_up else panel for panel in panels], table, title).save(temporary, format="PNG")
    return path


def _compose(panels: list[np.ndarray], table: UInt8[np.ndarray, "256 3"], title: str) -> Image.Image:
    """Title, panels side by side, and the colour bar with its scale at the right."""
    height, width = panels[0].shape[:2]
    zoom = max(1, -(-PANEL // max(height, width)))
    height, width = zoom * height, zoom * width
    top = TEXT + 2 * MARGIN
    font = _font()
    label = int(font.getlength("100"))
    bar_left = 3 * MARGIN + 2 * width
    canvas = Image.new("RGB", (bar_left + BAR + 2 * MARGIN + label, top + height + 2 * MARGIN), "black")
    draw = ImageDraw.Draw(canvas)
    title = " ".join(title.split())
    while title and font.getlength(title) > canvas.width - 2 * MARGIN:
        title = title[:-1]
    draw.text((MARGIN, MARGIN), title, fill="white", font=font)
    for number, panel in enumerate(panels):
        picture = Image.fromarray(np.ascontiguousarray(panel)).resize((width, height), Image.Resampling.NEAREST)
        canvas.paste(picture, (MARGIN + number * (width + MARGIN), top))
    canvas.paste(Image.fromarray(table[::-1, None]).resize((BAR, height), Image.Resampling.NEAREST), (bar_left, top))
    for value in (0, 50, 100):
        place = (bar_left + BAR + MARGIN // 2, top + height - 1 - value * (height - 1) // 100)
        draw.text(place, str(value), fill="white", font=font, anchor="lm")
    return canvas


def _colour_table() -> UInt8[np.ndarray, "256 3"]:
    from matplotlib import colormaps

    return colormaps[COLOURS](np.arange(256), bytes=True)[:, :3]


def _font() -> ImageFont.FreeTypeFont:
    from matplotlib import get_data_path

    # Pillow's own font has no letters such as × or –.
    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), TEXT)
