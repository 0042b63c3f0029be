"""Markdown of answers: tables, figures with their intervals, claims of a paper against what was measured here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan

Interval = tuple[float, float, float]
"""A figure, and the ends of its 95 % interval; NaN where there are too few subjects for one."""


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Table of cells."""
    lines = ["|" + "".join(f" {cell} |" if cell else " |" for cell in cells) for cells in (heads, *rows)]
    return "\n".join([lines[0], "|---" * len(heads) + "|", *lines[1:]])


def with_interval(value: Interval, form: str = "+.2f") -> str:
    """Figure, and in brackets its interval if there is one."""
    figure, low, high = (f"{number:{form}}" for number in value)
    return figure if isnan(value[1]) else f"{figure} [{low}, {high}]"


@dataclass(frozen=True)
class Claim:
    """Claim of a paper and its measurement: a line of the table of claims."""

    name: str
    """Identifier, such as A1."""
    says: str
    """Statement of the paper."""
    measured: str
    """Measurement, with its interval."""
    data: str
    """Number of images and of subjects."""
    holds: bool | None
    """True if the claim holds; None if it was not measured."""


def claims_table(claims: Iterable[Claim]) -> str:
    """Markdown table with a line for each claim."""
    verdict = {True: "holds", False: "**fails**", None: "not measured"}
    return markdown_table(
        ["claim", "the report says", "measured here", "data", "verdict"],
        [[c.name, c.says, c.measured, c.data, verdict[c.holds]] for c in claims],
    )
