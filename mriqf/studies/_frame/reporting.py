"""Tables of results in markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


@dataclass(frozen=True)
class Claim:
    """A line of the table of claims."""

    name: str
    """As A1."""
    says: str
    """What the paper says."""
    measured: str
    """What was measured here, with its interval."""
    data: str
    """On what, how many, of how many subjects."""
    holds: bool | None
    """None where it was not measured."""


def claims_table(claims: Iterable[Claim]) -> str:
    """Markdown table, a line each."""
    verdict = {True: "holds", False: "**fails**", None: "not measured"}
    lines = ["| claim | the report says | measured here | data | verdict |", "|---|---|---|---|---|"]
    lines += [f"| {c.name} | {c.says} | {c.measured} | {c.data} | {verdict[c.holds]} |" for c in claims]
    return "\n".join(lines)
