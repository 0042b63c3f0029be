"""Comparison of restorers at an equal budget: the papers' claims, on small networks that differ in one thing."""

from pathlib import Path

from mriqf.cli import Flat
from mriqf.studies._frame.study import ArmOptions, Drawing, Measurements, Study
from mriqf.studies._frame.table import Table
from mriqf.studies.restorers.ordering.answer import answer
from mriqf.studies.restorers.ordering.arms import OrderingConfig, train_arms
from mriqf.studies.restorers.ordering.figures import draw_gains
from mriqf.studies.restorers.ordering.measure import COLUMNS, KEY, load_arms, metadata, photographs, tasks
from mriqf.training.manifest import read_manifest

__all__ = [
    "COLUMNS", "KEY", "STUDY", "OrderingConfig", "answer", "draw_gains", "load_arms", "metadata", "photographs",
    "tasks", "train_arms",
]  # fmt: skip


def run(
    manifest: Path,
    *,
    options: Flat[ArmOptions],
    config: Flat[OrderingConfig] = OrderingConfig(),  # noqa: B008 (frozen)
) -> Measurements:
    """Train small QGCN, QGAC and QAIRN, complete and with one change each, and test which claims hold.

    All have the same steps, batch, patches and seeds. Writes the weights (arms/), rows.csv, answer.md and gains.png.
    Without a manifest, draws and answers again from the table.

    Parameters
    ----------
    manifest
        Images to train on, and photographs to measure: see data_manifests/restore-gray.toml.
    """
    root, known, folder = options.root(manifest), read_manifest(manifest), options.arms_folder
    subjects = photographs(known, root, config)  # missing files are reported before any training
    train_arms(folder, known, root, config, options.device, options.report)
    networks = load_arms(folder, config, options.device)
    yield Table(options.out, KEY, COLUMNS, metadata(folder, known, config)), tasks(subjects, networks, config)


STUDY = Study(run, answer, [Drawing("gains.png", draw_gains)])
