"""Deep image prior on JPEG photographs: what the colour term and SURE bring, where fits are stopped, what they take."""

from mriqf.studies.restorers.prior.answer import answer
from mriqf.studies.restorers.prior.figures import complete, draw_curves, draw_pictures, draw_sweep
from mriqf.studies.restorers.prior.measure import ARMS, COLUMNS, KEY, PriorStudyConfig, card, photographs, tasks

__all__ = [
    "ARMS",
    "COLUMNS",
    "KEY",
    "PriorStudyConfig",
    "answer",
    "card",
    "complete",
    "draw_curves",
    "draw_pictures",
    "draw_sweep",
    "photographs",
    "tasks",
]
