"""`mriqf restore`: take compression artefacts out of JPEG files."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from mriqf import weights
from mriqf.cli import UsageError
from mriqf.commands.options import choose_device, say
from mriqf.io import atomic_path
from mriqf.io.jpeg_file import JPEGFile, read_jpeg
from mriqf.restore import QGAC, restore

MODELS = ("arcnn", "srcnn", "qgcn", "qgac", "qairn")
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")


def restore_files(
    *inputs: Path,
    model: str,
    out: Path,
    device: str = "auto",
    force: bool = False,
) -> int:
    """Restore JPEG files.

    Each file's own quantisation tables are used, and by qgac its own coefficients. Writes one PNG a file, named after it,
    and prints one tab-separated line: input, output, weights, how chroma is sampled.

    Parameters
    ----------
    inputs
        JPEG files, grey or colour; of folders, the JPEG files in them.
    model
        arcnn, srcnn, qgcn, qgac or qairn, of which the weights for grey or colour are taken; or names or paths of
        weights.
    out
        Folder for the pictures, made if it does not exist.
    device
        auto, cpu or cuda.
    force
        Replace pictures that exist.

    Returns
    -------
    Exit status: 1 if a file failed.
    """
    files = [f for given in inputs for f in _files(given)]
    if not files:
        raise UsageError("no JPEG files given: mriqf restore FILE… --model NAME --out FOLDER")
    names = [path.stem + ".png" for path in files]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two inputs would be written as {twice}: restore them into different folders")
    place, models, failed = choose_device(device), {}, 0
    out.mkdir(parents=True, exist_ok=True)
    for path, name in zip(tqdm(files, "restore", file=sys.stderr, disable=None, leave=False), names, strict=True):
        try:
            with atomic_path(out / name, force) as temporary:
                jpeg = read_jpeg(path, coefficients=False)
                chosen = _weights(model, len(jpeg.pixels))
                if chosen not in models:
                    models[chosen] = weights.load(chosen, place)
                if isinstance(models[chosen], QGAC) and jpeg.sampling in ("grey", "4:2:0"):
                    jpeg = read_jpeg(path)
                pixels = restore_file(jpeg, models[chosen])
                Image.fromarray(pixels.squeeze(-1)).save(temporary)
        except (ValueError, OSError) as error:
            if isinstance(error, FileExistsError):
                raise
            say(f"mriqf: {error}" if str(path) in str(error) else f"mriqf: {path}: {error}")
            failed = 1
            continue
        print(path, out / name, chosen, jpeg.sampling, sep="\t", flush=True)  # noqa: T201
    return failed


@torch.inference_mode()
def restore_file(jpeg: JPEGFile, model: Any) -> np.ndarray:
    """Restored pixels `(h, w, ch)`, 8 bit.

    Raises
    ------
    ValueError
        If the network restores other channels than the file has, or reads tables and the file has more than two.
    """
    channels = len(jpeg.pixels)
    if model.config.channels != channels:
        kind = "grey" if channels == 1 else "in colour"
        raise ValueError(f"is {kind}, and the weights restore {model.config.channels} channels: choose others")
    where = next(model.parameters()).device
    tables = torch.from_numpy(jpeg.tables[None, : 1 if channels == 1 else 2]).to(where, torch.float32)
    if tables.shape[1] == 1 and channels == 3:  # one table for all components
        tables = tables.expand(-1, 2, -1, -1)
    if jpeg.coefficients is None:
        images = torch.from_numpy(jpeg.pixels[None]).to(where, torch.float32) / 255
        found = restore(model, images, tables)
    else:
        steps = [jpeg.tables[min(k, len(jpeg.tables) - 1)] for k in range(channels)]
        known = [torch.from_numpy((c * s)[None]).to(where, torch.float32) for c, s in zip(jpeg.coefficients, steps, strict=True)]
        found = model.restore_coefficients(known, tables, jpeg.pixels.shape[1:])
    return (found[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def _weights(model: str, channels: int) -> str:
    """Names of networks stand for their weights of these channels."""
    return f"{model}-{'gray' if channels == 1 else 'rgb'}" if model in MODELS else model


def _files(given: Path) -> list[Path]:
    return sorted(f for f in given.iterdir() if f.suffix.lower() in SUFFIXES) if given.is_dir() else [given]
