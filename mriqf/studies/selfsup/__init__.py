"""MoDL without ground truth: samples held out, the score, or both, against truth, at an equal budget.

References
----------
Yaman et al., Self-supervised learning of physics-guided reconstruction neural networks without fully sampled reference
data, Magn Reson Med 2020, doi:10.1002/mrm.28378.
"""

from mriqf.studies.selfsup.answer import answer
from mriqf.studies.selfsup.arms import TuningConfig, train_arms
from mriqf.studies.selfsup.figures import draw_changes, draw_pictures
from mriqf.studies.selfsup.measure import COLUMNS, KEY, card, load_arms, pictures, read_cases, tasks

__all__ = [
    "COLUMNS",
    "KEY",
    "TuningConfig",
    "answer",
    "card",
    "draw_changes",
    "draw_pictures",
    "load_arms",
    "pictures",
    "read_cases",
    "tasks",
    "train_arms",
]
