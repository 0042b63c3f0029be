"""Report of the gains of all arms, and of the claims."""

import numpy as np

from mriqf.studies._frame.reporting import markdown_table, with_interval
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.restorers.ordering.arms import ARMS, Arm
from mriqf.studies.restorers.ordering.claims import CLAIMS, Comparison, Judged, gains, judge

RULE = (
    "Rule, fixed before: a comparison holds if its whole 95 % interval, over photographs, lies on the right side of "
    "the bar, and does not hold if it lies on the wrong one; a claim holds if all its comparisons do, and does not if "
    "one does not. Other trainings are not in the intervals: {seeds}. The papers' figures are those of larger "
    "networks, other images, and far longer training."
)


def answer(table: Columns) -> str:
    """Report in markdown."""
    n, n_seeds = count(table), len(np.unique(table["seed"]))
    seeds = "one seed was trained" if n_seeds == 1 else f"what each of {n_seeds} seeds gives stands in brackets"
    return "\n".join(
        [
            "# Which restorer is better at an equal budget?",
            "",
            f"Every network is small and was trained for {table['budget'][0]}, all with the mean absolute error alone. "
            "Those of a family differ in one thing; one that lacks a part is smaller by it, and nothing makes up for "
            f"it. Mean gains in PSNR over JPEG, dB, of the middle of {n} photographs, protocol of FBCNN:",
            "",
            _arms(table),
            "",
            _claims(table),
            "",
            RULE.format(seeds=seeds),
        ]
    )


def count(table: Columns) -> int:
    """Number of photographs."""
    return len(set(zip(table["dataset"].tolist(), table["image"].tolist(), strict=True)))


def measured(table: Columns) -> list[Arm]:
    """Arms in the table."""
    known = set(table["arm"].tolist())
    return [arm for arm in ARMS if arm.name in known]


def qualities(table: Columns) -> list[int]:
    """Qualities, rising."""
    return sorted({int(q) for q in table["quality"]})


def parameters(table: Columns, arm: str) -> int:
    """Number of parameters of an arm's network."""
    return int(where(table, arm=arm)["parameters"][0])


def _arms(table: Columns) -> str:
    rows = []
    for arm in measured(table):
        size, whole = parameters(table, arm.name), parameters(table, arm.family)
        lacks = "" if size == whole else f" ({100 * (size / whole - 1):+.1f} %)"
        cells = (f"{gains(table, arm.name, q).mean():+.2f}" for q in qualities(table))
        rows.append([arm.name, arm.changed, f"{size:,}{lacks}", *cells])
    return markdown_table(["arm", "changed", "parameters", *(f"quality {q}" for q in qualities(table))], rows)


def _claims(table: Columns) -> str:
    rows = []
    for claim in CLAIMS:
        verdict, results = judge(claim, table)
        text = "<br>".join(_told(c, r) for c, r in zip(claim.comparisons, results, strict=True) if len(r.seeds))
        rows.append([claim.name, claim.says, text, f"**{verdict}**"])
    return markdown_table(["claim", "as the paper says it", "measured, dB", "verdict"], rows)


def _told(comparison: Comparison, judged: Judged) -> str:
    known = f"{comparison.says}: {with_interval((judged.value, judged.low, judged.high))}"
    known += f" ({', '.join(f'{s:+.2f}' for s in judged.seeds)})" if len(judged.seeds) > 1 else ""
    side = "above" if comparison.above else "below"
    return f"{known}, to be {side} {comparison.bar:g}: {judged.verdict}"
