"""`mriqf restore`: take compression artefacts out of JPEG files, and of pictures that were JPEG once."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from cyclopts import Parameter
from jaxtyping import Float, UInt8
from PIL import Image
from tqdm import tqdm

from mriqf.cli import UsageError
from mriqf.commands.options import choose_device, say
from mriqf.commands.score_table import complain
from mriqf.commands.table import Column, Table
from mriqf.commands.table_file import writing
from mriqf.io import atomic_path, find_inputs
from mriqf.io.bounds import check_regular, named
from mriqf.io.decoded_jpeg import read_decoded
from mriqf.io.discovery import passed_over
from mriqf.io.jpeg_file import JPEGFile, read_jpeg
from mriqf.io.raster import FORMATS, GREY
from mriqf.predictors.base import load_predictor
from mriqf.predictors.inference import predict_map
from mriqf.restore import QGAC, Network, load_restorer, restore
from mriqf.restore.prior import PriorConfig, fit_prior
from mriqf.restore.strength import better_alone

MODELS = ("arcnn", "srcnn", "qgcn", "qgac", "qairn")
PRIOR = "dip"  # no weights: a network is fitted to each file
JPEG = b"\xff\xd8"  # first bytes of a JPEG file
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
PRINTED = ("input", "output", "weights", "sampling")


def restore_files(
    *inputs: Path,
    weights: Annotated[str, Parameter(alias="--model")] = "qgcn",  # its name in earlier releases
    out: Path,
    prior: PriorConfig = PriorConfig(),  # noqa: B008 (frozen)
    header: bool = False,
    device: str = "auto",
    force: bool = False,
) -> int:
    """Restore JPEG files, grey or in colour.

    Networks that read quantisation tables get the file's own; of grey and 4:2:0 files, qgac gets the coefficients too.
    Writes one PNG a file, named after it, and prints a row; to programs, fields are separated by tabs: input, output,
    weights, sampling (of chroma). Says so where a file is better left alone: blind networks have next to nothing to add
    at high qualities, or do harm.

    Parameters
    ----------
    inputs
        JPEG files, and folders of them, which are searched with all that is below: results lie in such folders, too.
        PNG, TIFF or WebP pictures that were JPEG before, cropped perhaps, are restored by the quality and the grid that
        their pixels show.
    weights
        arcnn, srcnn, qgcn, qgac or qairn, of which the weights for grey or colour are taken as each file needs them; a
        name or path of weights; or dip, a deep image prior, which needs minutes a file: a run that was cut off goes on.
    out
        Folder for the pictures, made if it does not exist. A rotation noted in a photograph's tags is not applied, and
        is lost: pixels stay where they are coded.
    prior
        Options of dip; the number of channels is that of the file, and a score is that of qf-gray or qf-rgb.
    header
        Begin the tab-separated rows with a line of names.
    device
        auto, cpu or cuda.
    force
        Replace pictures that exist.

    Returns
    -------
    0, or 1 if an input failed.
    """
    if not inputs:
        raise UsageError("no input given: mriqf restore FILE… --out FOLDER")
    failed: list[str] = []
    skipped: dict[str, str] = {}
    targets = _targets(inputs, out, failed.append, skipped.__setitem__)
    if not targets:
        raise UsageError(failed[0])
    if twice := next((target for target, n in Counter(targets.values()).items() if n > 1), None):
        raise UsageError(f"two inputs would be written as {twice}: restore them into different folders")
    if (taken := next((target for target in targets.values() if target.exists()), None)) and not force:
        raise FileExistsError(f"{taken} exists: choose another folder or pass --force")
    place = choose_device(device)
    try:
        models = {} if weights in (*MODELS, PRIOR) else {weights: load_restorer(weights, place)}
    except ValueError as error:
        raise UsageError(f"--weights: {error}; or choose {', '.join(MODELS)}, {PRIOR}") from None
    out.mkdir(parents=True, exist_ok=True)
    for problem in failed:
        say(f"error: {problem}")
    table = _table([str(path) for path in targets], list(targets.values()), header)
    for path, target in tqdm(targets.items(), "restore", file=sys.stderr, disable=None, leave=False):
        try:
            jpeg, (top, left) = _read(path)
            name = f"{weights}-{'gray' if len(jpeg.pixels) == 1 else 'rgb'}" if weights in MODELS else weights
            target.parent.mkdir(parents=True, exist_ok=True)
            if weights == PRIOR:
                pixels = fit_file(jpeg, prior, place, target.with_suffix(".checkpoint"))
            else:
                if name not in models:
                    models[name] = load_restorer(name, place)
                if better_alone(models[name].config, _given(jpeg, torch.device("cpu"))[1]):
                    say(f"{path}: of high quality, and better left alone by {name}")
                if isinstance(models[name], QGAC) and jpeg.sampling in ("grey", "4:2:0"):
                    jpeg = read_jpeg(path)
                pixels = restore_file(jpeg, models[name])
            pixels = pixels[top:, left:]
            with writing(target), atomic_path(target, force) as temporary:
                picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
                picture.save(temporary, icc_profile=_profile(path, picture.mode))
        except (ValueError, OSError) as error:
            failed.append(complain(str(path), named(error)))
            say(f"error: {failed[-1]}")
            continue
        table.row(dict(zip(PRINTED, (path, target, name, jpeg.sampling), strict=True)))
    for line in passed_over(skipped):
        say(f"skipped: {line}")
    return 1 if failed else 0


def _read(path: Path) -> tuple[JPEGFile, tuple[int, int]]:
    """File, and the margins to cut from its restored pixels; says what is estimated."""
    check_regular(path)  # before it is opened: a pipe would be waited for
    with path.open("rb") as file:
        start = file.read(2)
    if start == JPEG or path.suffix.lower() in SUFFIXES:
        return read_jpeg(path, coefficients=False), (0, 0)
    decoded = read_decoded(path)
    say(f"{path}: is no JPEG any more; its pixels show quality {decoded.quality}")
    return decoded.jpeg, decoded.margins


def _table(names: list[str], targets: list[Path], header: bool) -> Table:
    shown = [
        Column("restored", "", max(len(str(target)) for target in targets), lambda row: str(row["output"]), words=True),
        Column("weights", "", 10, lambda row: row["weights"], words=True),
        Column("chroma", "", 6, lambda row: row["sampling"], words=True),
    ]
    return Table(PRINTED, shown, names, "JPEG", header=header)


@torch.inference_mode()
def restore_file(jpeg: JPEGFile, model: Network) -> UInt8[np.ndarray, "h w ch"]:
    """Restored pixels, from the coefficients if the file has them.

    If there are three quantisation tables, networks get those of luma and Cb.

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
        restored = restore(model, images, tables)
    else:  # untiled: there are 64 times fewer positions than pixels
        steps = [jpeg.tables[min(k, len(jpeg.tables) - 1)] for k in range(channels)]
        coded = [c * s for c, s in zip(jpeg.coefficients, steps, strict=True)]
        known = [torch.from_numpy(c[None]).to(where, torch.float32) for c in coded]
        restored = model.restore_coefficients(known, tables, (jpeg.pixels.shape[1], jpeg.pixels.shape[2]))
    return _pixels(restored)


def fit_file(jpeg: JPEGFile, prior: PriorConfig, device: str, checkpoint: Path) -> UInt8[np.ndarray, "h w ch"]:
    """Restore a file by a deep image prior; prints a message if its loss diverged.

    Raises
    ------
    ValueError
        If the prior's options are impossible.
    """
    images, tables = _given(jpeg, torch.device(device))
    config = replace(prior, model=replace(prior.model, channels=images.shape[1]))
    score = _score_of(images.shape[1]) if prior.stop == "score" else None
    result = fit_prior(images, config, tables, score=score, checkpoint=checkpoint)
    if result.stopped == "diverged":
        say(f"the fit broke after step {result.step}, whose image is kept: use a lower --prior.lr than {prior.lr}")
    return _pixels(result.image)


def _score_of(channels: int) -> Callable[[torch.Tensor], float]:
    predictor = load_predictor("qf-gray" if channels == 1 else "qf-rgb")
    return lambda image: predict_map(predictor, image.clamp(0, 1).cpu()).mean().item()


def _given(
    jpeg: JPEGFile, where: torch.device
) -> tuple[Float[torch.Tensor, "1 ch h w"], Float[torch.Tensor, "1 t 8 8"]]:
    images = torch.tensor(jpeg.pixels[None], dtype=torch.float32, device=where) / 255
    return images, torch.from_numpy(jpeg.tables[None, : 1 if images.shape[1] == 1 else 2]).to(images)


def _pixels(image: Float[torch.Tensor, "1 ch h w"]) -> UInt8[np.ndarray, "h w ch"]:
    return (image[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def _profile(path: Path, mode: str) -> bytes | None:
    """Colour profile of a file, without which the same values are other colours; none if only one of both is grey."""
    with Image.open(path, formats=FORMATS) as image:
        return image.info.get("icc_profile") if (image.mode in GREY) == (mode in GREY) else None


def _targets(
    inputs: Sequence[Path], out: Path, problem: Callable[[str], object], skip: Callable[[str, str], object]
) -> dict[Path, Path]:
    """Output path of each file to restore; files of folders keep their relative paths."""
    targets = {}
    for given in inputs:
        for name in find_inputs([str(given)], problem, skip, SUFFIXES).values():
            file = Path(name)
            inner = file.relative_to(given).parent if given.is_dir() else Path()
            targets[file] = out / inner / f"{file.stem}.png"
    return targets
