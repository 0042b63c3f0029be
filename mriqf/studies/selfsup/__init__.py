"""MoDL trained without ground truth (held-out samples, score, or both) against supervised MoDL at an equal budget.

References
----------
Yaman et al., Self-supervised learning of physics-guided reconstruction neural networks without fully sampled reference
data, Magn Reson Med 2020, doi:10.1002/mrm.28378.
"""

from pathlib import Path

from mriqf.cli import Flat
from mriqf.studies._frame.study import ArmOptions, Drawing, Measurements, Study, keep_arrays
from mriqf.studies._frame.table import Table
from mriqf.studies.selfsup.answer import answer
from mriqf.studies.selfsup.arms import TuningConfig, train_arms
from mriqf.studies.selfsup.figures import draw_changes, draw_pictures
from mriqf.studies.selfsup.measure import COLUMNS, KEY, load_arms, metadata, pictures, read_cases, tasks
from mriqf.training.manifest import read_manifest

__all__ = [
    "COLUMNS", "KEY", "STUDY", "TuningConfig", "answer", "draw_changes", "draw_pictures", "load_arms", "metadata",
    "pictures", "read_cases", "tasks", "train_arms",
]  # fmt: skip


def run(
    manifest: Path,
    *,
    options: Flat[ArmOptions],
    config: Flat[TuningConfig] = TuningConfig(),  # noqa: B008 (frozen)
) -> Measurements:
    """Fine-tune a MoDL with ground truth, with held-out lines, with its own samples and with the score, and compare.

    All arms have the same start, steps and draws. Writes the weights (arms/), rows.csv, the middle of one slice
    (pictures.npz), answer.md, changes.png and pictures.png. Without a manifest, draws and answers again from these.

    Parameters
    ----------
    manifest
        Magnitude images to train on, and to measure: see data_manifests/modl-knee.toml.
    """
    root, known, folder = options.root(manifest), read_manifest(manifest), options.arms_folder
    cases = read_cases(known, root, config)  # missing files are reported before any training
    train_arms(folder, known, root, config, options.device, options.report)
    networks = load_arms(folder, config, options.device)
    yield Table(options.out, KEY, COLUMNS, metadata(folder, known, config)), tasks(cases, networks, config)
    keep_arrays(options.out / "pictures.npz", pictures(cases, networks, config))


STUDY = Study(
    run, answer, [Drawing("changes.png", draw_changes), Drawing("pictures.png", draw_pictures, "pictures.npz")]
)
