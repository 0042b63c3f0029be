"""Report of claims A1–A4 and of the cost of a smaller field of view.

A claim holds if its 95 % interval over subjects leaves no doubt: rules and thresholds were fixed before the first run.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mriqf.metrics.correlation import srcc
from mriqf.predictors.qf import CLASS_QUALITIES, QFConfig, QFPredictor
from mriqf.studies._frame.reporting import Claim, Interval, claims_table, markdown_table, with_interval
from mriqf.studies._frame.statistics import bootstrap
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.jpeg_report.sampling.arms import ARMS, FIELDS, Arm
from mriqf.studies.jpeg_report.sampling.measure import GRID_QUALITIES, KEY, NONE

HIGH, MIDDLE, LOW = (81, 100), (41, 60), (1, 40)  # qualities, both ends included
NUANCE = (80, 100)  # where A2 ranks
BANDS = (LOW, MIDDLE, (61, 80), HIGH, (1, 100))
WITHIN = 2.0
GRID_ARM: Arm = "uniform"  # the report's Figure 5 is of a network trained so
GRID_RATIO = 2.0  # A4 holds if grid energy at quality 10 is this many times that of uncompressed windows


def answer(predictions: Columns, grid: Columns) -> str:
    """Report in markdown: tables and verdicts."""
    arms = measured(predictions)
    subjects = len(np.unique(predictions["subject"]))
    n = len(where(predictions, arm=arms[0])["score"])
    m = len(where(grid, arm=arms[0], compression=NONE)["score"])
    seeds = len(np.unique(predictions["seed"]))
    answers = claims(predictions, grid)
    text = [
        "# How to train a QF predictor",
        f"{n} patches an arm of {subjects} subjects, qualities uniform on 1–100; {m} windows an arm for the grid. "
        "Error is score minus true quality; in brackets the 95 % interval, bootstrapped over subjects. All arms were "
        "trained as long, on the same patches, none of them uncompressed or varied, with smooth absolute loss "
        "(regression) or, at a learning rate of its own, cross-entropy (classes), "
        f"{seeds} time(s) each: what chance does to a training is not in the intervals.",
        claims_table(answers),
        _sentences(answers),
        "## Mean absolute error by band of qualities",
        _bands(predictions, arms),
        "## By decade: mean absolute error ± sd of the error, share within ±2",
        _decades(predictions, arms),
        "## Field of view",
        _fields(predictions),
        "## The grid in the last features",
        _grid(grid),
    ]
    if "classes" in arms:
        text += ["## Classes: share of each true class (rows) that is read as (columns)", _confusion(predictions)]
    return "\n\n".join(text)


def _sentences(answers: list[Claim]) -> str:
    names = {holds: ", ".join(c.name for c in answers if c.holds is holds) for holds in (True, False, None)}
    text = [("Holds", True), ("Fails", False), ("Not measured, or on too few subjects", None)]
    return " ".join(f"{what}: {names[holds]}." for what, holds in text if names[holds])


def measured(table: Columns, among: Sequence[Arm] = tuple(ARMS)) -> list[Arm]:
    """Arms that a table has rows of."""
    return [arm for arm in among if (table["arm"] == arm).any()]


def within(table: Columns, band: tuple[int, int]) -> Columns:
    """Rows whose quality lies in a band."""
    rows = (table["quality"] >= band[0]) & (table["quality"] <= band[1])
    return {name: column[rows] for name, column in table.items()}


def error(table: Columns) -> np.ndarray:
    """Score minus true quality."""
    return table["score"] - table["quality"]


def mae(table: Columns) -> Interval:
    """Mean absolute error."""
    return _interval(_mean, table["subject"], np.abs(error(table)))


def paired(table: Columns, first: Arm, second: Arm) -> tuple[Columns, Columns]:
    """Rows of two arms on the same patches, in the same order.

    Raises
    ------
    ValueError
        If one of them lacks patches of the other.
    """
    both = [where(table, arm=arm) for arm in (first, second)]
    both = [{k: v[np.lexsort([t[name] for name in KEY[1:]])] for k, v in t.items()} for t in both]
    a, b = both
    if any(not np.array_equal(a[name], b[name]) for name in KEY[1:]):
        raise ValueError(f"arms {first} and {second} were not measured on the same patches: let the study end first")
    return a, b


def confusion(predictions: Columns) -> np.ndarray:
    """Counts of true classes (rows: nearest of 0, 20, 40, 60, 80) read as classes (columns)."""
    table = where(predictions, arm="classes")
    classes = np.array(CLASS_QUALITIES)
    true = np.abs(table["quality"][:, None] - classes).argmin(1)
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (true, np.searchsorted(classes, table["class"])), 1)
    return counts


def claims(predictions: Columns, grid: Columns) -> list[Claim]:
    """Claims A1–A4; a claim holds if its interval is conclusive, A4 if the ratio is reached."""
    return [_a1(predictions), _a2(predictions), _a3(predictions), _a4(grid)]


def _a1(predictions: Columns) -> Claim:
    says = "draws that prefer high qualities mend what uniform ones miss at 81–100"
    if not _there(predictions, "neglog", "uniform"):
        return Claim("A1", says, "–", "–", None)
    neglog, uniform = paired(predictions, "neglog", "uniform")
    high, low = (_difference(_mean, within(neglog, band), within(uniform, band)) for band in (HIGH, LOW))
    measured = f"MAE of neglog minus uniform draws: {with_interval(high)} at 81–100; {with_interval(low)} at 1–40"
    return Claim("A1", says, measured, _counts(within(neglog, HIGH)), _below_zero(high))


def _a2(predictions: Columns) -> Claim:
    says = "regression tells qualities of 80–100 apart better than classes"
    if not _there(predictions, "neglog", "classes"):
        return Claim("A2", says, "–", "–", None)
    regression, classes = (within(t, NUANCE) for t in paired(predictions, "neglog", "classes"))
    quality, subject = regression["quality"], regression["subject"]
    a, b = (_interval(srcc, subject, quality, t["score"]) for t in (regression, classes))
    change = _interval(lambda q, x, y: srcc(q, y) - srcc(q, x), subject, quality, regression["score"], classes["score"])
    measured = (
        f"rank correlation of score and quality {_plain(a)} with regression, {_plain(b)} with classes: "
        f"{with_interval(change)}"
    )
    return Claim("A2", says, measured, _counts(regression), _below_zero(change))


def _a3(predictions: Columns) -> Claim:
    says = "errors are small and vary little at 80–100, less than at 40–60"
    if not _there(predictions, "neglog"):
        return Claim("A3", says, "–", "–", None)
    table = where(predictions, arm="neglog")
    changes = _high_against_middle(table)
    measured = (
        f"81–100 minus 41–60, neglog draws: MAE {with_interval(changes[0])}, sd of errors {with_interval(changes[1])}"
    )
    if _there(predictions, "uniform"):
        mean, sd = map(with_interval, _high_against_middle(where(predictions, arm="uniform")))
        measured += f"; uniform draws: {mean}, {sd}"
    return Claim("A3", says, measured, _counts(within(table, HIGH)), _below_zero(*changes))


def _high_against_middle(table: Columns) -> tuple[Interval, Interval]:
    """Changes of the mean absolute error, and of the standard deviation of errors."""

    def change(statistic: Callable[..., float]) -> Callable[..., float]:
        return lambda e, high: statistic(e[high]) - statistic(e[~high])

    parts = [within(table, band) for band in (HIGH, MIDDLE)]
    both = {name: np.concatenate([part[name] for part in parts]) for name in table}
    high = both["quality"] >= HIGH[0]
    return (
        _interval(change(_mean), both["subject"], np.abs(error(both)), high),
        _interval(change(_sd), both["subject"], error(both), high),
    )


def _a4(grid: Columns) -> Claim:
    says = "activations over-emphasise the block grid of strongly compressed images"
    if not _there(grid, GRID_ARM):
        return Claim("A4", says, "–", "–", None)
    table = where(grid, arm=GRID_ARM)
    ratio = grid_ratio(table)
    strong, none = (where(table, compression=c) for c in ("10", NONE))
    stands = _interval(_mean, strong["subject"], strong["peak"])
    measured = (
        f"share of the last features' energy at the grid's frequencies, {GRID_ARM} draws: at quality 10 "
        f"{strong['energy'].mean():.3f}, {_plain(ratio)} times that of uncompressed windows (bar {GRID_RATIO:g}); "
        f"{_plain(stands)} times that of neighbouring frequencies (uncompressed: {none['peak'].mean():.2f})"
    )
    return Claim("A4", says, measured, _counts(where(table, compression=NONE)), ratio[0] >= GRID_RATIO)


def grid_ratio(table: Columns) -> Interval:
    """Grid energy at quality 10 over that of uncompressed windows, of one arm."""
    rows = where(table, compression=["10", NONE])
    none = rows["compression"] == NONE
    return _interval(lambda e, n: e[~n].mean() / e[n].mean(), rows["subject"], rows["energy"], none)


def _bands(predictions: Columns, arms: list[Arm]) -> str:
    sets = list(dict.fromkeys(predictions["dataset"].tolist()))

    def row(arm: Arm) -> list[str]:
        table = where(predictions, arm=arm)
        alone = [np.abs(error(where(table, dataset=name))).mean() for name in sets]
        return [arm, *(_plain(mae(within(table, band))) for band in BANDS), *(f"{value:.2f}" for value in alone)]

    return markdown_table(["arm", *(f"{low}–{high}" for low, high in BANDS), *sets], [row(arm) for arm in arms])


def _decades(predictions: Columns, arms: list[Arm]) -> str:
    def cell(arm: Arm, low: int) -> str:
        e = error(within(where(predictions, arm=arm), (low, low + 9)))
        return f"{np.abs(e).mean():.1f} ± {e.std():.1f}, {(np.abs(e) <= WITHIN).mean():.0%}" if e.size else "–"

    lows = range(1, 101, 10)
    return markdown_table(
        ["arm", *(f"{low}–{low + 9}" for low in lows)], [[a, *(cell(a, q) for q in lows)] for a in arms]
    )


def _fields(predictions: Columns) -> str:
    rows = []
    for arm in measured(predictions, tuple(FIELDS)):
        cells = [_plain(mae(where(predictions, arm=arm))), "–"]
        if arm != "neglog" and _there(predictions, "neglog"):
            cells[1] = with_interval(_difference(_mean, *paired(predictions, arm, "neglog")))
        network = QFPredictor(QFConfig(ARMS[arm][2]))
        rows.append([str(FIELDS[arm]), str(network.stride), str(sum(p.numel() for p in network.parameters())), *cells])
    return markdown_table(["field, pixels", "stride", "parameters", "MAE 1–100", "minus that of 34"], rows) + (
        "\n\nThe networks have like numbers of multiplications, hence other widths: this is what each learns in the "
        "same number of steps, not what a field of view allows in the end."
    )


def _grid(grid: Columns) -> str:
    def row(arm: Arm) -> list[str]:
        table = where(grid, arm=arm)
        energies = [where(table, compression=c)["energy"].mean() for c in (NONE, *map(str, GRID_QUALITIES[::-1]))]
        spreads = [phase_spread(where(table, compression=str(q))) for q in GRID_QUALITIES]
        peaks = [where(table, compression=c)["peak"].mean() for c in (NONE, "10")]
        moved, stayed = (np.nanmean(where(table, compression="10")[name]) for name in ("moved", "stayed"))
        return [
            arm, *(f"{e:.3f}" for e in energies), _plain(grid_ratio(table)),
            f"{peaks[0]:.2f}, {peaks[1]:.2f}", f"{moved:.2f} / {stayed:.2f}",
            *(f"{s:.1f}" for s in spreads),
        ]  # fmt: skip

    head = [
        "arm", "energy: none", *(str(q) for q in GRID_QUALITIES[::-1]), "10 over none",
        "stands out: none, 10", "moves / stays at 10",
        "sd of score over phases: 10", *(str(q) for q in GRID_QUALITIES[1:]),
    ]  # fmt: skip
    return markdown_table(head, [row(arm) for arm in measured(grid)]) + (
        "\n\nEnergy: share of the last features' variance at the frequencies of the grid; it grows too when features "
        "become rougher. Stands out: that energy over the energy of the frequencies around, 1 if there is no grid. "
        "Moves / stays: correlation of what repeats every 8 pixels, when the grid is moved under the same pixels, with "
        "what repeated before, moved along or not (of four values only where the stride is 4)."
    )


def phase_spread(table: Columns) -> float:
    """Standard deviation of a window's score over the eight phases of the grid, mean over windows."""
    windows = np.stack([table[name].astype(str) for name in ("seed", "dataset", "subject", "slice")], 1)
    _, window = np.unique(windows, axis=0, return_inverse=True)
    return float(np.mean([table["score"][window.ravel() == k].std() for k in range(window.max() + 1)]))


def _confusion(predictions: Columns) -> str:
    counts = confusion(predictions)
    right = np.trace(counts) / counts.sum()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names = [str(q) for q in CLASS_QUALITIES]
    rows = [
        [name, *(f"{s:.0%}" for s in row), str(n)] for name, row, n in zip(names, shares, counts.sum(1), strict=True)
    ]
    return markdown_table(["true", *names, "n"], rows) + f"\n\nRight: {right:.0%}. A score made of classes ends at 80."


def _difference(statistic: Callable[..., float], first: Columns, second: Columns) -> Interval:
    """Statistic of the absolute errors of one arm minus that of another, on the same patches."""
    return _interval(
        lambda a, b: statistic(a) - statistic(b), first["subject"], np.abs(error(first)), np.abs(error(second))
    )


def _interval(statistic: Callable[..., float], subject: np.ndarray, *values: np.ndarray) -> Interval:
    if not len(subject):
        return float("nan"), float("nan"), float("nan")
    low, high = bootstrap(statistic, subject, *values)
    return float(statistic(*values)), low, high


def _below_zero(*changes: Interval) -> bool | None:
    """True if the intervals of all changes lie below 0; None with too few subjects for an interval."""
    highest = float(np.max([high for _, _, high in changes]))
    return None if np.isnan(highest) else highest < 0


def _counts(table: Columns) -> str:
    return f"{len(table['score'])} patches, {len(np.unique(table['subject']))} subjects"


def _there(table: Columns, *arms: Arm) -> bool:
    return measured(table, arms) == list(arms)


def _mean(values: np.ndarray) -> float:
    return float(values.mean())


def _sd(values: np.ndarray) -> float:
    return float(values.std())


def _plain(value: Interval) -> str:
    return with_interval(value, ".2f")
