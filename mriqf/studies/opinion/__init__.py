"""Correlation of scores with human opinion of JPEG images: QAIRN's gates, predictors, the lattice of the pixels.

References
----------
Gedik, Venkataramanan, Bovik, Joint deep image restoration and unsupervised quality assessment, 2023,
arXiv:2311.16372.
"""

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
    card,
    lattice_rater,
    load_raters,
    predictor_raters,
    qairn_rater,
    read_opinions,
    tasks,
)

__all__ = [
    "COLUMNS",
    "EXPONENTS",
    "KEY",
    "Opinion",
    "OpinionConfig",
    "Opinions",
    "Rater",
    "answer",
    "card",
    "draw_exponents",
    "draw_scatter",
    "lattice_rater",
    "load_raters",
    "predictor_raters",
    "qairn_rater",
    "read_opinions",
    "tasks",
]
