"""`mriqf train`: train a model from a manifest."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App
from tqdm import tqdm

from mriqf.calibration.file import write as write_calibration
from mriqf.cli import Flat, UsageError
from mriqf.commands.options import StartOptions, TrainOptions, say
from mriqf.commands.table import show
from mriqf.commands.train_restorer import add_restorers
from mriqf.predictors.inference import fingerprint
from mriqf.predictors.levels import KNOTS
from mriqf.predictors.nrmse import NRMSEPredictor
from mriqf.scoring.scorer import Scorer
from mriqf.training.degraded import read_origin, read_shards
from mriqf.training.error import ErrorTrainConfig, train_error
from mriqf.training.evidence.shards import read_evidence
from mriqf.training.groups.shards import read_shards as read_groups
from mriqf.training.groups.shards import share_of_subjects
from mriqf.training.kspace import (
    Examples,
    KSpaceTrainConfig,
    calibrate,
    leave_one_out,
    prepare,
    train_kspace,
    validate,
)
from mriqf.training.levels import fit_levels
from mriqf.training.loop import check_new
from mriqf.training.manifest import content_hash, read_manifest
from mriqf.training.modl import train_modl
from mriqf.training.nrmse import NRMSETrainConfig, train_nrmse
from mriqf.training.perceptual import PerceptualConfig, train_perceptual
from mriqf.training.qf import TrainConfig, train
from mriqf.training.tune_modl import TuneConfig
from mriqf.training.tune_modl import tune_modl as tune
from mriqf.weights import find, load
from mriqf.weights import read as read_weights
from mriqf.weights import write as write_weights
from recon.train import TrainConfig as MoDLTrainConfig

app = App(name="train", help="Train a model from a manifest.")
add_restorers(app)


@app.command
def qf(
    manifest: Path,
    *,
    data: Path,
    options: Flat[StartOptions],
    recipe: Flat[TrainConfig] = TrainConfig(),  # noqa: B008 (frozen)
) -> None:
    """Train a QF Predictor; a run that was cut off goes on where its last checkpoint was written.

    Parameters
    ----------
    manifest
        Which data, which subjects: see data_manifests/.
    data
        Folder that the manifest's paths start from.
    """
    train(read_manifest(manifest), data, options.out, recipe, **options.settings())


@app.command
def modl(
    manifest: Path,
    *,
    data: Path,
    options: Flat[StartOptions],
    recipe: Flat[MoDLTrainConfig] = MoDLTrainConfig(),  # noqa: B008 (frozen)
) -> None:
    """Train a MoDL or a VarNet on simulated k-space; a run that was cut off goes on where its last checkpoint is.

    Parameters
    ----------
    manifest
        Which images, which subjects: see data_manifests/.
    data
        Folder that the manifest's paths start from.
    """
    train_modl(read_manifest(manifest), data, options.out, recipe, **options.settings())


@app.command
def error(
    *examples: Path,
    validation: Path,
    options: Flat[StartOptions],
    recipe: Flat[ErrorTrainConfig] = ErrorTrainConfig(),  # noqa: B008 (frozen)
) -> None:
    """Train an error predictor; a run that was cut off goes on where its last checkpoint was written.

    Parameters
    ----------
    examples
        Folders of degraded images that `mriqf data degrade` made of training splits.
    validation
        The same of the validation split, whose subjects are not trained on.
    """
    if not examples:
        raise UsageError("no examples given: mriqf train error FOLDER…")
    data = read_shards(*examples), read_shards(validation)
    train_error(*data, options.out, recipe, provenance=_provenance(examples), **options.settings())


@app.command
def nrmse(
    *examples: Path,
    validation: Path,
    options: Flat[StartOptions],
    subjects: float = 1.0,
    recipe: Flat[NRMSETrainConfig] = NRMSETrainConfig(),  # noqa: B008 (frozen)
) -> None:
    """Train an NRMSE predictor on groups of degraded images; a run that was cut off goes on where it was.

    Parameters
    ----------
    examples
        Folders of groups that `mriqf data groups` made of training splits.
    validation
        The same of the validation split, whose subjects are not trained on.
    subjects
        Share of the subjects to train on, for learning curves.
    """
    if not examples:
        raise UsageError("no examples given: mriqf train nrmse FOLDER…")
    data = share_of_subjects(read_groups(*examples), subjects), read_groups(validation)
    provenance = _provenance(examples) | ({} if subjects == 1 else {"subjects": subjects})
    train_nrmse(*data, options.out, recipe, provenance=provenance, **options.settings())


@app.command
def levels(start: str, *examples: Path, out: Path, force: bool = False) -> None:
    """Fit the curve from the errors that an NRMSE predictor reads to the true ones, and write weights that have it.

    Images keep their order; their scores agree with the errors of images like the examples. Calibrate afterwards.

    Parameters
    ----------
    start
        Name or path of weights of an NRMSE predictor.
    examples
        Folders of groups that `mriqf data groups` made of subjects that it was not trained on.
    out
        Weights to write (.safetensors).
    force
        Replace weights that exist.
    """
    if not examples:
        raise UsageError("no examples given: mriqf train levels WEIGHTS FOLDER…")
    _one_process("levels")
    check_new(out, force)
    model = load(start)
    if not isinstance(model, NRMSEPredictor):
        raise UsageError(f"weights {start} have no such curve: give some by mriqf train nrmse")
    groups = read_groups(*examples)
    with tqdm(desc="read", total=len(groups["image"]), file=sys.stderr, disable=None, leave=False) as bar:
        values = fit_levels(model, groups, bar.update)
    tensors, card = read_weights(find(start))
    write_weights(out, tensors | {"levels.values": values}, card | {"levels": _provenance(examples)}, force=force)
    show("error read\ttrue error")
    for error, value in zip(KNOTS, values.tolist(), strict=True):
        show(f"{error:.3f}\t{10**value:.4f}")


@app.command
def kspace(
    *examples: Path,
    validation: Path,
    options: Flat[TrainOptions],
    image_weights: str = "qf-mri",
    leave_out: bool = False,
    recipe: Flat[KSpaceTrainConfig] = KSpaceTrainConfig(),  # noqa: B008 (frozen)
) -> None:
    """Train a k-space predictor, calibrate it, and say how good it is; a run that was cut off goes on where it was.

    Beside the weights stands their calibration, if the validation examples suffice. Prints, tab-separated, the rank
    correlation with the true NRMSE, mean absolute error, coverage of the intervals and median correlation of maps.

    Parameters
    ----------
    examples
        Folders that `mriqf data evidence` made of training splits.
    validation
        The same of the validation split, whose subjects are not trained on.
    image_weights
        Name or path of the predictor whose reading of the image is taken into account.
    leave_out
        Train again without each family of reconstructions, and say how good that is on this family.
    """
    if not examples:
        raise UsageError("no examples given: mriqf train kspace FOLDER…")
    _one_process("kspace")
    settings = options.settings()
    settings.pop("device")  # so small that the CPU is fastest
    beside = options.out.with_suffix(".calibration.json")
    check_new(options.out, options.force)
    check_new(beside, options.force)
    scorer = Scorer(image_weights, calibration=None)
    seen, held_out = (_read(folders, scorer) for folders in (examples, (validation,)))
    origin = _provenance(examples) | {
        "image_weights": {"name": Path(image_weights).stem, "sha256": fingerprint(scorer.predictor)}
    }
    train_kspace(seen, held_out, options.out, recipe, provenance=origin, **settings)
    model = load(options.out)
    try:
        write_calibration(beside, calibrate(model, held_out, seen), force=options.force)
    except ValueError as error:
        say(f"no calibration: {error}")
    columns = ("pooled", "mae", "held", "map")
    show("\t".join(("", *columns)))

    def tell(name: str, figures: dict[str, float]) -> None:
        show("\t".join((name, *(f"{figures[column]:.3f}" for column in columns))))

    tell("validation", validate(model, held_out))
    for name in np.unique(held_out.family):
        tell(str(name), validate(model, held_out.part(held_out.family == name)))
    if leave_out:
        for name, figures in leave_one_out(seen, held_out, recipe):
            tell(f"without {name}", figures)


def _one_process(name: str) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(f"train {name} runs in one process, and takes minutes: start it without torchrun")


def _read(folders: Sequence[Path], scorer: Scorer) -> Examples:
    """Read the examples of folders and score their images."""
    evidence = read_evidence(*folders)
    with tqdm(desc="read", total=len(evidence["image"]), file=sys.stderr, disable=None, leave=False) as bar:
        return prepare(evidence, scorer, bar.update)


@app.command
def perceptual(
    start: str,
    manifest: Path,
    *,
    data: Path,
    options: Flat[TrainOptions],
    recipe: Flat[PerceptualConfig] = PerceptualConfig(),  # noqa: B008 (frozen)
) -> None:
    """Fine-tune a restorer by the score, without ground truth; a run that was cut off goes on from its checkpoint.

    Parameters
    ----------
    start
        Weights of the restorer, by name or path.
    manifest
        Which photographs or MR images, which were never compressed: see data_manifests/.
    data
        Folder that the manifest's paths start from.
    """
    train_perceptual(start, read_manifest(manifest), data, options.out, recipe, **options.settings())


@app.command
def tune_modl(
    start: str,
    manifest: Path,
    *,
    data: Path,
    options: Flat[TrainOptions],
    recipe: Flat[TuneConfig] = TuneConfig(),  # noqa: B008 (frozen)
) -> None:
    """Fine-tune a MoDL with ground truth, with held-out samples, or with the score; a run that was cut off goes on.

    Parameters
    ----------
    start
        Weights of the MoDL, by name or path.
    manifest
        Which magnitude images, which subjects: see data_manifests/.
    data
        Folder that the manifest's paths start from.
    """
    tune(start, read_manifest(manifest), data, options.out, recipe, **options.settings())


def _provenance(examples: Sequence[Path]) -> dict[str, Any]:
    """Provenance of degraded images: their manifest and hashes."""
    return {
        "manifest": read_origin(examples[-1])["manifest"],
        "examples": [read_origin(folder) | {"sha256": content_hash(folder)} for folder in examples],
    }
