"""`mriqf restore`: take compression artefacts out of JPEG files."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from tqdm import tqdm

from mriqf.cli import UsageError
from mriqf.commands.options import choose_device, say
from mriqf.inference import predict_map
from mriqf.io import atomic_path
from mriqf.io.jpeg_file import JPEGFile, read_jpeg
from mriqf.restore import QGAC, Network, restore
from mriqf.restore.prior import PriorConfig, fit_prior
from mriqf.weights import load_predictor, load_restorer

MODELS = ("arcnn", "srcnn", "qgcn", "qgac", "qairn")
PRIOR = "dip"  # no weights: a network is fitted to each file
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")


def restore_files(
    *inputs: Path,
    model: str,
    out: Path,
    prior: PriorConfig = PriorConfig(),  # noqa: B008 (frozen)
    device: str = "auto",
    force: bool = False,
) -> int:
    """Restore JPEG files, grey or in colour.

    Networks that read quantisation tables get the file's own; of grey and 4:2:0 files, qgac gets the coefficients too.
    Writes one PNG a file, named after it, and prints one tab-separated line: input, output, weights, how chroma is
    sampled.

    Parameters
    ----------
    inputs
        JPEG files; of folders, the files in them that are named so.
    model
        arcnn, srcnn, qgcn, qgac or qairn, of which the weights for grey or colour are taken as each file needs them; a
        name or path of weights; or dip, a deep image prior, which needs minutes a file: a run that was cut off goes on.
    out
        Folder for the pictures, made if it does not exist. A rotation noted in a photograph's tags is not applied, and
        is lost: pixels stay where they are coded.
    prior
        Options of dip; the number of channels is that of the file, and a score is that of qf-gray or qf-rgb.
    device
        auto, cpu or cuda.
    force
        Replace pictures that exist.

    Returns
    -------
    0, or 1 if an input failed.
    """
    files = [file for given in inputs for file in _files(given)]
    if not files:
        raise UsageError("no input given: mriqf restore FILE… --model NAME --out FOLDER")
    targets = [out / f"{path.stem}.png" for path in files]
    if twice := next((target for target in targets if targets.count(target) > 1), None):
        raise UsageError(f"two inputs would be written as {twice}: restore them into different folders")
    if (taken := next((target for target in targets if target.exists()), None)) and not force:
        raise FileExistsError(f"{taken} exists: choose another folder or pass --force")
    place = choose_device(device)
    try:
        models = {} if model in (*MODELS, PRIOR) else {model: load_restorer(model, place)}
    except ValueError as error:
        raise UsageError(f"--model: {error}; or choose {', '.join(MODELS)}, {PRIOR}") from None
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for path, target in zip(tqdm(files, "restore", file=sys.stderr, disable=None, leave=False), targets, strict=True):
        try:
            jpeg = read_jpeg(path, coefficients=False)
            name = f"{model}-{'gray' if len(jpeg.pixels) == 1 else 'rgb'}" if model in MODELS else model
            if model == PRIOR:
                pixels = fit_file(jpeg, prior, place, target.with_suffix(".checkpoint"))
            else:
                if name not in models:
                    models[name] = load_restorer(name, place)
                if isinstance(models[name], QGAC) and jpeg.sampling in ("grey", "4:2:0"):
                    jpeg = read_jpeg(path)
                pixels = restore_file(jpeg, models[name])
            with atomic_path(target, force) as temporary:
                picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
                picture.save(temporary, icc_profile=_profile(path))
        except (ValueError, OSError) as error:
            failed += 1
            say(f"error: {error}" if str(path) in str(error) else f"error: {path}: {error}")
            continue
        print(path, target, name, jpeg.sampling, sep="\t", flush=True)  # noqa: T201
    return 1 if failed else 0


@torch.inference_mode()
def restore_file(jpeg: JPEGFile, model: Network) -> UInt8[np.ndarray, "h w ch"]:
    """Restored pixels, from coefficients where there are any.

    Of three quantisation tables, networks are told those of luma and Cb.

    Raises
    ------
    ValueError
        If the network restores other channels than the file has.
    """
    channels = len(jpeg.pixels)
    if model.config.channels != channels:
        kind = "grey" if channels == 1 else "in colour"
        raise ValueError(f"is {kind}, and the weights restore {model.config.channels} channels: choose others")
    where = next(model.parameters()).device
    images, tables = _given(jpeg, where)
    if jpeg.coefficients is None or not isinstance(model, QGAC):
        found = restore(model, images, tables)
    else:  # at once: there are 64 times fewer places than pixels
        steps = [jpeg.tables[min(k, len(jpeg.tables) - 1)] for k in range(channels)]
        coded = [c * s for c, s in zip(jpeg.coefficients, steps, strict=True)]
        known = [torch.from_numpy(c[None]).to(where, torch.float32) for c in coded]
        found = model.restore_coefficients(known, tables, (jpeg.pixels.shape[1], jpeg.pixels.shape[2]))
    return _pixels(found)


def fit_file(jpeg: JPEGFile, prior: PriorConfig, device: str, checkpoint: Path) -> UInt8[np.ndarray, "h w ch"]:
    """Pixels that a deep image prior makes of a file; says so where its loss broke.

    Raises
    ------
    ValueError
        If the prior's options are impossible.
    """
    images, tables = _given(jpeg, torch.device(device))
    config = replace(prior, model=replace(prior.model, channels=images.shape[1]))
    score = _score_of(images.shape[1]) if prior.stop == "score" else None
    found = fit_prior(images, config, tables, score=score, checkpoint=checkpoint)
    if found.stopped == "diverged":
        say(f"the fit broke after step {found.step}, whose image is kept: use a lower --prior.lr than {prior.lr}")
    return _pixels(found.image)


def _score_of(channels: int) -> Callable[[torch.Tensor], float]:
    predictor = load_predictor("qf-gray" if channels == 1 else "qf-rgb")
    return lambda image: predict_map(predictor, image.clamp(0, 1).cpu()).mean().item()


def _given(
    jpeg: JPEGFile, where: torch.device
) -> tuple[Float[torch.Tensor, "1 ch h w"], Float[torch.Tensor, "1 t 8 8"]]:
    images = torch.tensor(jpeg.pixels[None], dtype=torch.float32, device=where) / 255
    return images, torch.from_numpy(jpeg.tables[None, : 1 if images.shape[1] == 1 else 2]).to(images)


def _pixels(found: Float[torch.Tensor, "1 ch h w"]) -> UInt8[np.ndarray, "h w ch"]:
    return (found[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def _profile(path: Path) -> bytes | None:
    """The colour profile: the same numbers are other colours without it."""
    with Image.open(path, formats=("JPEG",)) as image:
        return image.info.get("icc_profile")


def _files(given: Path) -> list[Path]:
    if not given.is_dir():
        return [given]
    found = sorted(f for f in given.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith("."))
    if not found:
        raise UsageError(f"{given}: holds no JPEG file: give another folder, or files")
    return found
