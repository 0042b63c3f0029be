"""Training of QF predictors: distribution of qualities, regression or classes, receptive field.

Claims A1–A4 of Cui, Reference-Free Image Quality Metric, UCB/EECS-2023-130, 2023, §3–4.2.
"""

from mriqf.studies.jpeg_report.sampling.answer import answer, claims
from mriqf.studies.jpeg_report.sampling.arms import Config

__all__ = ["Config", "answer", "claims"]
