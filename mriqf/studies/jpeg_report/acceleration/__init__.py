"""The score against the undersampling rate R: undersample, reconstruct, score; and predict R from the score."""

from pathlib import Path

from mriqf.cli import Flat
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies._frame.study import Drawing, Measurements, ReconOptions, Study
from mriqf.studies._frame.table import Table
from mriqf.studies.jpeg_report.acceleration.answer import answer, claims
from mriqf.studies.jpeg_report.acceleration.figures import FIGURES
from mriqf.studies.jpeg_report.acceleration.measure import KEY, AccelerationConfig, columns, metadata, tasks
from mriqf.studies.jpeg_report.acceleration.prediction import NEEDS_SUBJECTS

__all__ = ["FIGURES", "KEY", "STUDY", "AccelerationConfig", "answer", "claims", "columns", "metadata", "tasks"]


def run(
    *inputs: Path,
    options: Flat[ReconOptions],
    config: Flat[AccelerationConfig] = AccelerationConfig(),  # noqa: B008 (frozen)
) -> Measurements:
    """Undersample more and more, reconstruct, score: curves, maps, and R predicted from the score.

    Parameters
    ----------
    inputs
        Fully sampled k-space, or magnitude images: files, folders or manifests; each file is a subject. Without any,
        figures and answer are made again from the table.
    """
    images = read_inputs(inputs, options.data, split=options.split, kspace=True, passed=options.report)
    if len(images.subjects) < 2:
        options.report(f"one subject: its curves and correlations, without intervals. {NEEDS_SUBJECTS}")
    table = Table(options.out, KEY, columns(config), metadata(images, config))
    yield table, tasks(images, config, options.out, options.images)


STUDY = Study(run, answer, [Drawing(*figure) for figure in FIGURES])
