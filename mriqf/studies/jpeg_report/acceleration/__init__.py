"""The score against the undersampling rate R: undersample, reconstruct, score; and predict R from the score."""

from mriqf.studies.jpeg_report.acceleration.answer import answer, claims
from mriqf.studies.jpeg_report.acceleration.figures import FIGURES
from mriqf.studies.jpeg_report.acceleration.measure import KEY, AccelerationConfig, card, columns, tasks

__all__ = ["FIGURES", "KEY", "AccelerationConfig", "answer", "card", "claims", "columns", "tasks"]
