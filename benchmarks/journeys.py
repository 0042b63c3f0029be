"""Files as they reach a user: compressed twice, reduced, cropped, saved as PNG, with coarse chroma; restored by name.

    python -m benchmarks.journeys PHOTOGRAPHS --out FOLDER [--weights qgcn arcnn] [--n 6]

Writes the files and what `mriqf restore` makes of them, a picture for each kind, and prints the PSNR of both in
decibels, mean over the photographs. A file with CMYK colours is among them, and must be refused.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import jpeglib
import numpy as np
import torch
from PIL import Image

from mriqf.commands.restore import restore_files
from mriqf.jpeg import compress_pixels
from mriqf.metrics import jpeg as jpeg_metrics
from mriqf.training.manifest import find_photographs

Journey = Callable[[Image.Image, Path], Image.Image]
"""Writes a file of a photograph, and returns the pixels that it should have."""


def camera(photo: Image.Image, path: Path) -> Image.Image:
    """One compression at quality 92, as cameras do."""
    photo.save(path.with_suffix(".jpg"), quality=92, subsampling=2)
    return photo


def messenger(photo: Image.Image, path: Path) -> Image.Image:
    """Reduced to three quarters and compressed again at quality 55, as messengers do."""
    size = (photo.width * 3 // 4, photo.height * 3 // 4)
    _again(photo, 92).resize(size, Image.Resampling.LANCZOS).save(path.with_suffix(".jpg"), quality=55, subsampling=2)
    return photo.resize(size, Image.Resampling.LANCZOS)


def cut(photo: Image.Image, path: Path) -> Image.Image:
    """Compressed at quality 40, cut away from its grid, and compressed at 75."""
    _cut(_again(photo, 40)).save(path.with_suffix(".jpg"), quality=75, subsampling=2)
    return _cut(photo)


def picture(photo: Image.Image, path: Path) -> Image.Image:
    """Compressed at quality 40, cut away from its grid, and saved as PNG."""
    _cut(_again(photo, 40)).save(path.with_suffix(".png"))
    return _cut(photo)


def coarse(photo: Image.Image, path: Path) -> Image.Image:
    """Chroma of a quarter of the columns (4:1:1), quality 40."""
    file = jpeglib.from_spatial(np.asarray(photo))
    file.samp_factor = np.array([[1, 4], [1, 1], [1, 1]])
    file.write_spatial(str(path.with_suffix(".jpg")), qt=40)
    return photo


def scans(photo: Image.Image, path: Path) -> Image.Image:
    """Progressive, quality 20."""
    photo.save(path.with_suffix(".jpg"), quality=20, progressive=True)
    return photo


JOURNEYS: dict[str, Journey] = {f.__name__: f for f in (camera, messenger, cut, picture, coarse, scans)}


def main() -> None:
    """Write, restore, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", nargs="*", default=["qgcn", "arcnn"])
    parser.add_argument("--n", type=int, default=6, help="photographs")
    options = parser.parse_args()
    photos = [Image.open(p).convert("RGB") for p in find_photographs(options.photographs)[: options.n]]
    print("journey", "jpeg", *options.weights, sep="\t")
    for name, journey in JOURNEYS.items():
        files = options.out / name
        files.mkdir(parents=True, exist_ok=True)
        truths = [journey(photo, files / str(k)) for k, photo in enumerate(photos)]
        given = _in_order(files)
        columns = [[Image.open(path).convert("RGB") for path in given]]
        for weights in options.weights:
            restored = options.out / f"{name}-{weights}"
            if restore_files(*given, weights=weights, out=restored, force=True):
                raise SystemExit(f"{files} was not restored as a whole")
            columns.append([Image.open(path).convert("RGB") for path in _in_order(restored)])
        figures = [mean(map(psnr, truths, images)) for images in columns]
        print(name, *(f"{x:.2f}" for x in figures), sep="\t")
        draw(options.out / f"{name}.png", [truths[0], *(images[0] for images in columns)])
    refused = options.out / "cmyk.jpg"
    photos[0].convert("CMYK").save(refused)
    if restore_files(refused, weights=options.weights[0], out=options.out / "cmyk") != 1:
        raise SystemExit("a CMYK file was not refused")


def psnr(truth: Image.Image, image: Image.Image) -> float:
    """PSNR of all three channels, in decibels."""
    given, target = (torch.tensor(np.asarray(x)).movedim(-1, 0)[None] / 255 for x in (image, truth))
    return jpeg_metrics.psnr(given, target).item()


def draw(path: Path, images: list[Image.Image], side: int = 160, zoom: int = 3) -> None:
    """Middles of the images side by side, enlarged: the truth, the file, and what was made of it."""
    strip = Image.new("RGB", (len(images) * side * zoom, side * zoom))
    for k, image in enumerate(images):
        left, top = (image.width - side) // 2, (image.height - side) // 2
        part = image.crop((left, top, left + side, top + side)).resize(
            (side * zoom, side * zoom), Image.Resampling.NEAREST
        )
        strip.paste(part, (k * side * zoom, 0))
    strip.save(path)


def _again(photo: Image.Image, quality: int) -> Image.Image:
    return Image.fromarray(compress_pixels(np.asarray(photo), quality))


def _cut(photo: Image.Image) -> Image.Image:
    return photo.crop((3, 5, photo.width - 2, photo.height - 3))


def _in_order(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: int(path.stem))


if __name__ == "__main__":
    main()
