"""The score against the severity of a corruption: fixed patches, corrupted more and more.

References
----------
Cui, Reference-Free Image Quality Metric for Degradation and Reconstruction Artifacts, UCB/EECS-2023-130, 2023,
section 5.1 and figure 12 (also doi:10.48550/arXiv.2405.02208).
"""

from mriqf.studies.jpeg_report.corruption.answer import answer, claims
from mriqf.studies.jpeg_report.corruption.figures import draw_curves
from mriqf.studies.jpeg_report.corruption.measure import COLUMNS, KEY, CorruptionConfig, card, tasks

__all__ = ["COLUMNS", "KEY", "CorruptionConfig", "answer", "card", "claims", "draw_curves", "tasks"]
