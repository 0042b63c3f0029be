"""Twelve claims that a score without reference must live up to, each with bars fixed before the held-out run."""

from mriqf.studies.twelve.answer import answer
from mriqf.studies.twelve.figures import FIGURES
from mriqf.studies.twelve.gallery import keep_failures
from mriqf.studies.twelve.judges import read_judges
from mriqf.studies.twelve.measure import tasks
from mriqf.studies.twelve.plan import KEY, TwelveConfig, card, columns, read_data

__all__ = [
    "FIGURES", "KEY", "TwelveConfig", "answer", "card", "columns", "keep_failures", "read_data", "read_judges", "tasks",
]  # fmt: skip
