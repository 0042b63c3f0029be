"""Deep image prior on JPEG photographs: benefit of the colour term and SURE, stopping of fits, computing time."""

from pathlib import Path

from mriqf.cli import Flat
from mriqf.studies._frame.inputs import read_inputs
from mriqf.studies._frame.study import Drawing, Measurements, SplitOptions, Study
from mriqf.studies._frame.table import Table
from mriqf.studies.restorers.prior.answer import answer
from mriqf.studies.restorers.prior.figures import complete, draw_curves, draw_pictures, draw_sweep
from mriqf.studies.restorers.prior.measure import ARMS, COLUMNS, KEY, PriorStudyConfig, metadata, photographs, tasks

__all__ = [
    "ARMS", "COLUMNS", "KEY", "STUDY", "PriorStudyConfig", "answer", "complete", "draw_curves", "draw_pictures",
    "draw_sweep", "metadata", "photographs", "tasks",
]  # fmt: skip


def run(
    *inputs: Path,
    options: Flat[SplitOptions],
    config: Flat[PriorStudyConfig] = PriorStudyConfig(),  # noqa: B008 (frozen)
) -> Measurements:
    """Fit deep image priors to compressed photographs, with the colour term and SURE, and measure them during the fit.

    Each arm is fitted once to each photograph, and measured against it during the fit. Writes rows.csv, answer.md,
    curves.png, sweep.png, pictures/ and pictures.png; without inputs, draws and answers again from the table.

    Parameters
    ----------
    inputs
        Folders of photographs in RGB that were never compressed, each a data set; files; or manifests (.toml).
    """
    images = read_inputs(inputs, options.data, split=options.split, most=config.most, passed=options.report)
    subjects = photographs(images, config)
    table = Table(options.out, KEY, COLUMNS, metadata(images, config))
    yield table, tasks(subjects, config, options.out / "pictures")


STUDY = Study(
    run,
    answer,
    [
        Drawing("curves.png", draw_curves),
        Drawing("sweep.png", draw_sweep),
        Drawing("pictures.png", draw_pictures, "pictures", complete),
    ],
)
