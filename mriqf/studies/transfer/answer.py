"""Report of the benefit of the JPEG pretext task, of left-out families, and of controls."""

import numpy as np

from mriqf.metrics.correlation import srcc
from mriqf.studies._frame.reporting import markdown_table, with_interval
from mriqf.studies._frame.statistics import bootstrap
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.transfer.arms import CONTROLS, PRETEXT, PRETRAINED, SCRATCH, TWICE
from mriqf.studies.transfer.measure import subject_of

HELPS = 0.02
"""Rank correlation by which pretraining must win, with an interval above zero, to be said to help."""
UNSEEN = 0.60
"""Rank correlation in a family that was never trained on."""
NOTHING = 0.20
"""Rank correlation, pooled, that a control must stay below."""


def answer(table: Columns) -> str:
    """Report in markdown."""
    lines = ["# Does the JPEG pretext help MR?", "", _arms(table), "", _question(table), "", _left_out(table), ""]
    return "\n".join([*lines, _controls(table)])


def correlation(table: Columns, arm: str, seed: float | None = None, **rows: str) -> float:
    """Rank correlation of predicted and true NRMSE, the mean over seeds if none is named; NaN without such an arm."""
    chosen = where(table, arm=arm, **rows)
    if not len(chosen["arm"]):
        return float("nan")
    seeds = np.unique(chosen["seed"]) if seed is None else [seed]
    tables = [where(chosen, seed=float(s)) for s in seeds]
    return float(np.mean([srcc(t["predicted"], t["nrmse"]) for t in tables]))


def datasets(table: Columns) -> list[str]:
    """Names of the test sets."""
    return [str(d) for d in np.unique(table["dataset"])]


def families(table: Columns) -> list[str]:
    """Families of degradations, as they stand in the table."""
    return [str(f) for f in dict.fromkeys(table["family"].tolist())]


def _arms(table: Columns) -> str:
    names = datasets(table)
    rows = []
    for arm in (SCRATCH, TWICE, PRETRAINED, PRETEXT):
        cells = []
        for name in names:
            chosen = where(table, arm=arm, dataset=name)
            each = [correlation(table, arm, float(s), dataset=name) for s in np.unique(chosen["seed"])]
            cells.append(f"{np.mean(each):.3f} ({min(each):.3f} to {max(each):.3f})")
        for name in names:
            chosen = where(table, arm=arm, dataset=name)
            cells.append(f"{np.abs(chosen['predicted'] - chosen['nrmse']).mean():.3f}")
        rows.append([arm, *cells])
    seeds, n = len(np.unique(where(table, arm=SCRATCH)["seed"])), len(np.unique(table["example"]))
    shown = markdown_table(["arm", *names, *(f"MAE {name}" for name in names)], rows)
    head = f"Rank correlation of predicted and true NRMSE over {n} degraded images of {_count(table)} subjects, mean of"
    return f"{head} {seeds} seeds (least to most), and mean absolute error of NRMSE:\n\n" + shown


def _question(table: Columns) -> str:
    remarks = []
    for name in datasets(table):
        chosen = where(table, dataset=name)
        for other, what in ((SCRATCH, "as many MR steps"), (TWICE, "as many steps in all")):
            difference = correlation(chosen, PRETRAINED) - correlation(chosen, other)
            low, high = _interval(chosen, other)
            helps = difference > HELPS and low > 0
            verdict = "**helps**" if helps else "**hurts**" if difference < -HELPS and high < 0 else "no difference"
            remarks.append(
                f"* {name}, against {what} from scratch: {with_interval((difference, low, high), '+.3f')}: {verdict}"
            )
    rule = f"(rule, fixed before: it helps if ρ rises by more than {HELPS} and the interval is above 0)"
    return f"JPEG first, then MR, against MR alone {rule}:\n\n" + "\n".join(remarks)


def _interval(table: Columns, other: str) -> tuple[float, float]:
    """Interval of the difference, over subjects, or over images where there is one subject."""
    one = where(table, arm=SCRATCH)
    one = where(one, seed=float(one["seed"][0]))
    columns = []
    for arm in (PRETRAINED, other):
        chosen = where(table, arm=arm)
        columns += [where(chosen, seed=float(s))["predicted"] for s in np.unique(chosen["seed"])]
    half = len(columns) // 2

    def difference(true: np.ndarray, *predicted: np.ndarray) -> float:
        each = [srcc(p, true) for p in predicted]
        return float(np.mean(each[:half]) - np.mean(each[half:]))

    subject = subject_of(one)
    units = subject if len(np.unique(subject)) > 2 else one["example"]
    return bootstrap(difference, units, one["nrmse"], *columns)


def _left_out(table: Columns) -> str:
    names = datasets(table)
    trained = [f for f in families(table) if len(where(table, arm=f"without-{f}")["arm"])]
    if not trained:
        return "No network was trained without a family."
    rows, short = [], []
    for family in trained:
        cells = []
        for name in names:
            unseen = correlation(table, f"without-{family}", dataset=name, family=family)
            cells.append(f"{unseen:.2f}, {correlation(table, SCRATCH, dataset=name, family=family):.2f}")
            short += [f"{family} on {name} ({unseen:.2f})"] if unseen < UNSEEN else []
        rows.append([family, *cells])
    verdict = "All reach" if not short else f"Below {UNSEEN}: {', '.join(short)}; the others reach"
    heads = ["never trained on", *(f"{n}: ρ in it, trained on it" for n in names)]
    return f"Families left out of training entirely:\n\n{markdown_table(heads, rows)}\n\n{verdict} {UNSEEN:.2f}."


def _controls(table: Columns) -> str:
    remarks = []
    for arm in CONTROLS:
        each = {name: correlation(table, arm, dataset=name) for name in datasets(table)}
        if all(np.isnan(v) for v in each.values()):
            continue
        figures = ", ".join(f"{v:+.2f} on {name}" for name, v in each.items())
        near = all(abs(v) < NOTHING for v in each.values())
        remarks.append(f"* {arm} labels: {figures}: {'near zero' if near else f'**not** within {NOTHING}'}")
    return "Controls, pooled rank correlation:\n\n" + "\n".join(remarks) if remarks else "No control was trained."


def _count(table: Columns) -> int:
    return len(np.unique(subject_of(table)))
