"""`mriqf train`: train a model from a manifest."""

import sys
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import App, Parameter
from tqdm import tqdm

from mriqf.cli import UsageError
from mriqf.commands.train_restorer import add_restorers
from mriqf.training.degraded import read_origin, read_shards
from mriqf.training.error import ErrorTrainConfig, train_error
from mriqf.training.groups.shards import read_shards as read_groups
from mriqf.training.manifest import content_hash, read_manifest
from mriqf.training.modl import train_modl
from mriqf.training.nrmse import NRMSETrainConfig, train_nrmse
from mriqf.training.perceptual import PerceptualConfig, train_perceptual
from mriqf.training.qf import TrainConfig, train
from mriqf.training.tune_modl import TuneConfig
from mriqf.training.tune_modl import tune_modl as tune
from recon.train import TrainConfig as MoDLTrainConfig

app = App(name="train", help="Train a model from a manifest.")
add_restorers(app)


@app.command
def qf(
    manifest: Path,
    *,
    data: Path,
    out: Path,
    recipe: Annotated[TrainConfig, Parameter(name="*")] = TrainConfig(),  # noqa: B008 (frozen)
    start: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    force: bool = False,
) -> None:
    """Train a QF Predictor; a run that was cut off goes on where its last checkpoint was written.

    Parameters
    ----------
    manifest
        Which data, which subjects: see data_manifests/.
    data
        Folder that the manifest's paths start from.
    out
        Weights to write (.safetensors).
    recipe
        Options of the recipe.
    start
        Weights of the same network to start from.
    device
        cpu or cuda.
    threads
        Processor threads; all if not given.
    force
        Replace weights that exist.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    train(
        read_manifest(manifest), data, out, recipe,
        device=device, start=start, force=force, report=lambda line: tqdm.write(line, file=sys.stderr),
    )  # fmt: skip


@app.command
def modl(
    manifest: Path,
    *,
    data: Path,
    out: Path,
    recipe: Annotated[MoDLTrainConfig, Parameter(name="*")] = MoDLTrainConfig(),  # noqa: B008 (frozen)
    start: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    force: bool = False,
) -> None:
    """Train a MoDL or a VarNet on simulated k-space; a run that was cut off goes on where its last checkpoint is.

    Parameters
    ----------
    manifest
        Which images, which subjects: see data_manifests/.
    data
        Folder that the manifest's paths start from.
    out
        Weights to write (.safetensors).
    recipe
        Options of the recipe.
    start
        Weights of the same layers to start from.
    device
        cpu or cuda.
    threads
        Processor threads; all if not given.
    force
        Replace weights that exist.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    train_modl(
        read_manifest(manifest), data, out, recipe,
        device=device, start=start, force=force, report=lambda line: tqdm.write(line, file=sys.stderr),
    )  # fmt: skip


@app.command
def error(
    *examples: Path,
    validation: Path,
    out: Path,
    recipe: Annotated[ErrorTrainConfig, Parameter(name="*")] = ErrorTrainConfig(),  # noqa: B008 (frozen)
    start: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    force: bool = False,
) -> None:
    """Train an error predictor; a run that was cut off goes on where its last checkpoint was written.

    Parameters
    ----------
    examples
        Folders of degraded images that `mriqf data degrade` made of training splits.
    validation
        The same of the validation split, whose subjects are not trained on.
    out
        Weights to write (.safetensors).
    recipe
        Options of the recipe.
    start
        Weights of the same network to start from.
    device
        cpu or cuda.
    threads
        Processor threads; all if not given.
    force
        Replace weights that exist.
    """
    if not examples:
        raise UsageError("no examples given: mriqf train error FOLDER…")
    if threads is not None:
        torch.set_num_threads(threads)
    train_error(
        read_shards(*examples), read_shards(validation), out, recipe,
        provenance={
            "manifest": read_origin(examples[-1])["manifest"],
            "examples": [read_origin(folder) | {"sha256": content_hash(folder)} for folder in examples],
        },
        device=device, start=start, force=force, report=lambda line: tqdm.write(line, file=sys.stderr),
    )  # fmt: skip


@app.command
def nrmse(
    *examples: Path,
    validation: Path,
    out: Path,
    recipe: Annotated[NRMSETrainConfig, Parameter(name="*")] = NRMSETrainConfig(),  # noqa: B008 (frozen)
    start: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    force: bool = False,
) -> None:
    """Train an NRMSE predictor on groups of degraded images; a run that was cut off goes on where it was.

    Parameters
    ----------
    examples
        Folders of degraded images that `mriqf data degrade` made of training splits.
    validation
        The same of the validation split, whose subjects are not trained on.
    out
        Weights to write (.safetensors).
    recipe
        Options of the recipe.
    start
        Weights of the same network to start from.
    device
        cpu or cuda.
    threads
        Processor threads; all if not given.
    force
        Replace weights that exist.
    """
    if not examples:
        raise UsageError("no examples given: mriqf train nrmse FOLDER…")
    if threads is not None:
        torch.set_num_threads(threads)
    train_nrmse(
        read_groups(*examples), read_groups(validation), out, recipe,
        provenance={
            "manifest": read_origin(examples[-1])["manifest"],
            "examples": [read_origin(folder) | {"sha256": content_hash(folder)} for folder in examples],
        },
        device=device, start=start, force=force, report=lambda line: tqdm.write(line, file=sys.stderr),
    )  # fmt: skip


@app.command
def perceptual(
    start: str,
    manifest: Path,
    *,
    data: Path,
    out: Path,
    recipe: Annotated[PerceptualConfig, Parameter(name="*")] = PerceptualConfig(),  # noqa: B008 (frozen)
    device: str = "cpu",
    threads: int | None = None,
    force: bool = False,
) -> None:
    """Fine-tune a restorer by the score, without truth; a run that was cut off goes on where its checkpoint is.

    Parameters
    ----------
    start
        Weights of the restorer, by name or path.
    manifest
        Which photographs or MR images, which were never compressed: see data_manifests/.
    data
        Folder that the manifest's paths start from.
    out
        Weights to write (.safetensors).
    recipe
        Options of the recipe.
    device
        cpu or cuda.
    threads
        Processor threads; all if not given.
    force
        Replace weights that exist.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    train_perceptual(
        start, read_manifest(manifest), data, out, recipe,
        device=device, force=force, report=lambda line: tqdm.write(line, file=sys.stderr),
    )  # fmt: skip


@app.command
def tune_modl(
    start: str,
    manifest: Path,
    *,
    data: Path,
    out: Path,
    recipe: Annotated[TuneConfig, Parameter(name="*")] = TuneConfig(),  # noqa: B008 (frozen)
    device: str = "cpu",
    threads: int | None = None,
    force: bool = False,
) -> None:
    """Fine-tune a MoDL with truth, with held-out samples, or with the score; a run that was cut off goes on.

    Parameters
    ----------
    start
        Weights of the MoDL, by name or path.
    manifest
        Which magnitude images, which subjects: see data_manifests/.
    data
        Folder that the manifest's paths start from.
    out
        Weights to write (.safetensors).
    recipe
        Options of the recipe.
    device
        cpu or cuda.
    threads
        Processor threads; all if not given.
    force
        Replace weights that exist.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    tune(
        start, read_manifest(manifest), data, out, recipe,
        device=device, force=force, report=lambda line: tqdm.write(line, file=sys.stderr),
    )  # fmt: skip
