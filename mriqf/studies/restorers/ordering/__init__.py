"""Comparison of restorers at an equal budget: the papers' claims, on small networks that differ in one thing."""

from mriqf.studies.restorers.ordering.answer import answer
from mriqf.studies.restorers.ordering.arms import OrderingConfig, train_arms
from mriqf.studies.restorers.ordering.figures import draw_gains
from mriqf.studies.restorers.ordering.measure import COLUMNS, KEY, card, load_arms, photographs, tasks

__all__ = [
    "COLUMNS",
    "KEY",
    "OrderingConfig",
    "answer",
    "card",
    "draw_gains",
    "load_arms",
    "photographs",
    "tasks",
    "train_arms",
]
