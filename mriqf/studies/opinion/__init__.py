"""Correlation of scores with human opinion of JPEG images: QAIRN's gates, predictors, the lattice of the pixels.

References
----------
Gedik, Venkataramanan, Bovik, Joint deep image restoration and unsupervised quality assessment, 2023,
arXiv:2311.16372.
"""

from pathlib import Path

from mriqf.cli import Flat
from mriqf.studies._frame.study import Drawing, Measurements, Options, Study
from mriqf.studies._frame.table import Table
from mriqf.studies.opinion.answer import answer
from mriqf.studies.opinion.figures import draw_exponents, draw_scatter
from mriqf.studies.opinion.measure import (
    COLUMNS,
    EXPONENTS,
    KEY,
    Opinion,
    OpinionConfig,
    Opinions,
    Rater,
    lattice_rater,
    load_raters,
    metadata,
    predictor_raters,
    qairn_rater,
    read_opinions,
    tasks,
)

__all__ = [
    "COLUMNS", "EXPONENTS", "KEY", "STUDY", "Opinion", "OpinionConfig", "Opinions", "Rater", "answer",
    "draw_exponents", "draw_scatter", "lattice_rater", "load_raters", "metadata", "predictor_raters",
    "qairn_rater", "read_opinions", "tasks",
]  # fmt: skip


def run(
    *inputs: Path,
    options: Flat[Options],
    config: Flat[OpinionConfig] = OpinionConfig(),  # noqa: B008 (frozen)
) -> Measurements:
    """Correlate scores with human opinion of JPEG images: QAIRN's gates, predictors, and the lattice of the pixels.

    Writes rows.csv, answer.md, exponents.png and scatter.png; without inputs, draws and answers again from the table.

    Parameters
    ----------
    inputs
        Folders, each a data set: pictures, and scores.csv with the columns image (name without ending), score and,
        where they are known, std and reference. Pictures that it does not list are left out.
    """
    opinions = read_opinions(inputs, config.lower_is_better, config.higher_is_better)
    yield Table(options.out, KEY, COLUMNS, metadata(opinions, config)), tasks(opinions, load_raters(config))


STUDY = Study(run, answer, [Drawing("exponents.png", draw_exponents), Drawing("scatter.png", draw_scatter)])
