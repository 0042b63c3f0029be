"""`mriqf study sampling`: train QF predictors on different draws, losses and fields of view, and compare them."""

from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from mriqf.cli import UsageError
from mriqf.commands.options import say
from mriqf.commands.study.run import carry_out, conclude, keep_arrays, read_arrays
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies._frame.table import Table, read_table
from mriqf.studies.jpeg_report.sampling import figures, measure
from mriqf.studies.jpeg_report.sampling.answer import answer
from mriqf.studies.jpeg_report.sampling.arms import Config, card, curve_table, curve_tasks, load_arms
from mriqf.training.manifest import read_manifest


def sampling(
    manifest: Path | None = None,
    *,
    out: Path,
    data: Path | None = None,
    config: Annotated[Config, Parameter(name="*")] = Config(),  # noqa: B008 (frozen)
    threads: int | None = None,
) -> int:
    """Compare distributions of drawn qualities, regression and classes, and receptive fields.

    Trains on the manifest's training split and measures on its test split. Writes the weights (arms/), training curves
    (curves/rows.csv), scores of test patches (rows.csv) and of windows under a moved grid (grid/rows.csv), features of
    one window (features.npz), figures and answer.md. Without a manifest, draws and answers again from these.

    Parameters
    ----------
    manifest
        Grey magnitude images with splits train, val and test: see data_manifests/.
    out
        Folder of the study; one that was cut off goes on.
    data
        Folder that the paths in the manifest start from.
    config
        What is trained, and what it is measured on.
    threads
        Processor threads; all if not given.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if manifest is not None:
        if data is None:
            raise UsageError(f"{manifest} is a manifest: say with --data where its files are")
        _measure(manifest, out, data, config)
    curves, grid = (read_table(out / name / "rows.csv") for name in ("curves", "grid"))
    return conclude(
        out,
        lambda predictions: answer(predictions, grid),
        [
            ("pairs.png", figures.draw_pairs),
            ("laws.png", figures.draw_laws),
            ("confusion.png", figures.draw_confusion),
            ("fields.png", figures.draw_fields),
            ("curves.png", lambda _, path: figures.draw_curves(curves, path)),
            ("phase.png", lambda _, path: figures.draw_phase(grid, path)),
            ("features.png", lambda _, path: figures.draw_features(read_arrays(out / "features.npz"), path)),
        ],
    )


def _measure(path: Path, out: Path, data: Path, config: Config) -> None:
    """Train, and fill the tables."""
    manifest = read_manifest(path)
    subjects = read_inputs([path], data)  # before hours of training: what is wrong is heard now
    carry_out(curve_table(out, manifest, config), curve_tasks(out, manifest, data, config, say))
    models, made_from = load_arms(out, config), card(out, config, subjects.hashes)
    carry_out(Table(out, measure.KEY, measure.COLUMNS, made_from), measure.prediction_tasks(subjects, models, config))
    carry_out(
        Table(out / "grid", measure.GRID_KEY, measure.GRID_COLUMNS, made_from),
        measure.grid_tasks(subjects, models, config),
    )
    keep_arrays(out / "features.npz", measure.activations(subjects, models))
