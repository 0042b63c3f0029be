"""Training of QF predictors: distribution of qualities, regression or classes, receptive field.

Claims A1–A4 of Cui, Reference-Free Image Quality Metric, UCB/EECS-2023-130, 2023, §3–4.2.
"""

from pathlib import Path

from mriqf.cli import Flat
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies._frame.study import DataOptions, Drawing, Measurements, Study, keep_arrays
from mriqf.studies._frame.table import Table
from mriqf.studies.jpeg_report.sampling import figures
from mriqf.studies.jpeg_report.sampling.answer import answer, claims
from mriqf.studies.jpeg_report.sampling.arms import Config, curve_table, curve_tasks, load_arms, metadata
from mriqf.studies.jpeg_report.sampling.measure import (
    COLUMNS,
    GRID_COLUMNS,
    GRID_KEY,
    KEY,
    activations,
    grid_tasks,
    prediction_tasks,
)  # fmt: skip
from mriqf.training.manifest import read_manifest

__all__ = ["STUDY", "Config", "answer", "claims"]


def run(
    manifest: Path,
    *,
    options: Flat[DataOptions],
    config: Flat[Config] = Config(),  # noqa: B008 (frozen)
) -> Measurements:
    """Compare distributions of drawn qualities, regression and classes, and receptive fields.

    Trains on the manifest's training split and measures on its test split. Writes the weights (arms/), training curves
    (curves/rows.csv), scores of test patches (rows.csv) and of windows under a moved grid (grid/rows.csv), features of
    one window (features.npz), figures and answer.md. Without a manifest, draws and answers again from these.

    Parameters
    ----------
    manifest
        Grey magnitude images with splits train, val and test: see data_manifests/.
    """
    out, root, known = options.out, options.root(manifest), read_manifest(manifest)
    subjects = read_inputs([manifest], root)  # faults of the data are told before hours of training
    yield curve_table(out, known, config), curve_tasks(out, known, root, config, options.report)
    models, made_from = load_arms(out, config), metadata(out, config, subjects.hashes)
    yield Table(out, KEY, COLUMNS, made_from), prediction_tasks(subjects, models, config)
    yield Table(out / "grid", GRID_KEY, GRID_COLUMNS, made_from), grid_tasks(subjects, models, config)
    keep_arrays(out / "features.npz", activations(subjects, models))


STUDY = Study(
    run,
    answer,
    [
        Drawing("pairs.png", figures.draw_pairs),
        Drawing("laws.png", figures.draw_distributions),
        Drawing("confusion.png", figures.draw_confusion),
        Drawing("fields.png", figures.draw_fields),
        Drawing("curves.png", figures.draw_curves, "curves/rows.csv"),
        Drawing("phase.png", figures.draw_phase, "grid/rows.csv"),
        Drawing("features.png", figures.draw_features, "features.npz"),
    ],
    tables=("rows.csv", "grid/rows.csv"),
)
