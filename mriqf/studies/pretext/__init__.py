"""Does reading JPEG first help to read MR errors? Networks that differ in nothing but what they learned from."""

from mriqf.studies.pretext.answer import answer
from mriqf.studies.pretext.arms import Config, Sources, train_arms
from mriqf.studies.pretext.figures import FIGURES
from mriqf.studies.pretext.measure import COLUMNS, KEY, card, tasks

__all__ = ["COLUMNS", "FIGURES", "KEY", "Config", "Sources", "answer", "card", "tasks", "train_arms"]
