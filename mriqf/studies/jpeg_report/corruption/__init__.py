"""The score against the severity of a corruption: fixed patches, corrupted more and more.

References
----------
Cui, Reference-Free Image Quality Metric for Degradation and Reconstruction Artifacts, UCB/EECS-2023-130, 2023,
section 5.1 and figure 12 (also doi:10.48550/arXiv.2405.02208).
"""

from pathlib import Path

from mriqf.cli import Flat
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies._frame.study import Drawing, Measurements, SplitOptions, Study
from mriqf.studies._frame.table import Table
from mriqf.studies.jpeg_report.corruption.answer import answer, claims
from mriqf.studies.jpeg_report.corruption.figures import draw_curves
from mriqf.studies.jpeg_report.corruption.measure import COLUMNS, KEY, CorruptionConfig, metadata, tasks

__all__ = ["COLUMNS", "KEY", "STUDY", "CorruptionConfig", "answer", "claims", "draw_curves", "metadata", "tasks"]


def run(
    *inputs: Path,
    options: Flat[SplitOptions],
    config: Flat[CorruptionConfig] = CorruptionConfig(),  # noqa: B008 (frozen)
) -> Measurements:
    """Corrupt fixed patches more and more, and score them.

    Gaussian blur, Gaussian noise, salt and pepper, JPEG, JPEG 2000 and, in grey images, Rician noise, at eight levels.
    Grey images are scored with the grey weights, RGB images with the RGB weights and, as luma, with the grey ones.
    Writes rows.csv, answer.md and curves.png; without inputs, draws and answers again from the table.

    Parameters
    ----------
    inputs
        Files, folders of images, or manifests (.toml).
    """
    images = read_inputs(inputs, options.data, split=options.split, most=config.most, passed=options.report)
    yield Table(options.out, KEY, COLUMNS, metadata(images, config)), tasks(images, config)


STUDY = Study(run, answer, [Drawing("curves.png", draw_curves)])
