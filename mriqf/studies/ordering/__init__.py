"""Which restorer is better at an equal budget? The papers' claims, on small networks that differ in one thing."""

from mriqf.studies.ordering.answer import answer
from mriqf.studies.ordering.arms import OrderingConfig, train_arms
from mriqf.studies.ordering.figures import draw_gains
from mriqf.studies.ordering.measure import COLUMNS, KEY, card, load_arms, photographs, tasks

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
