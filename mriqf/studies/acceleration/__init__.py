"""The score against the undersampling rate R: undersample, reconstruct, score; and predict R from the score."""

from mriqf.studies.acceleration.measure import AccelerationConfig, card, columns, tasks

__all__ = ["AccelerationConfig", "card", "columns", "tasks"]
