"""The score as a loss: restorers of JPEG images, fine-tuned without truth on data consistency and a predictor's score.

References
----------
Cui, Reference-Free Image Quality Metric for Degradation and Reconstruction Artifacts, UCB/EECS-2023-130, 2023,
section 5.3 and figures 16 and 17 (also doi:10.48550/arXiv.2405.02208).
"""

from mriqf.studies.jpeg_report.loss.answer import answer, claims
from mriqf.studies.jpeg_report.loss.arms import LossConfig, Part, arms, card, load_arms, read_parts, train_arms
from mriqf.studies.jpeg_report.loss.figures import draw_curves, draw_pictures
from mriqf.studies.jpeg_report.loss.measure import COLUMNS, KEY, pictures, tasks

__all__ = [
    "COLUMNS",
    "KEY",
    "LossConfig",
    "Part",
    "answer",
    "arms",
    "card",
    "claims",
    "draw_curves",
    "draw_pictures",
    "load_arms",
    "pictures",
    "read_parts",
    "tasks",
    "train_arms",
]
