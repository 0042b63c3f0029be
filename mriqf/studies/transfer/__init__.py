"""Does reading JPEG first help to read MR errors? Networks that differ in nothing but what they learned from."""

from mriqf.studies.transfer.answer import answer
from mriqf.studies.transfer.arms import Config, Sources, train_arms
from mriqf.studies.transfer.figures import FIGURES
from mriqf.studies.transfer.measure import COLUMNS, KEY, card, tasks

__all__ = ["COLUMNS", "FIGURES", "KEY", "Config", "Sources", "answer", "card", "tasks", "train_arms"]
