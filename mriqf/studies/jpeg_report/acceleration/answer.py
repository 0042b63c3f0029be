"""Report of the R study: claims A7 and A8, prediction of R, comparison with classical metrics."""

import numpy as np

from mriqf.metrics.correlation import srcc
from mriqf.metrics.reference_free import BASELINES
from mriqf.studies._frame.reporting import Claim, claims_table, markdown_table, with_interval
from mriqf.studies._frame.statistics import bootstrap, by_group, group_rows
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.jpeg_report.acceleration.measure import FULL
from mriqf.studies.jpeg_report.acceleration.prediction import (
    NEEDS_SUBJECTS,
    Prediction,
    enough_subjects,
    estimators,
    predict,
    settings,
)

# Fixed before the first run.
A7_BAR = -0.9
"""Mean correlation of central score and effective R within a curve, on MoDL's output."""
A8_BAR = 3.0
"""Factor by which foreground pooling shall reduce the spread of whole-image scores at equal R."""

CURVE = ("subject", "slice", "family", "seed")


def curves(table: Columns) -> Columns:
    """Rows with the fully sampled images repeated for each family, so that each curve begins at R = 1."""
    full = table["family"] == FULL
    families = [f for f in dict.fromkeys(table["family"].tolist()) if f != FULL]
    rows = np.concatenate([np.flatnonzero(~full), *[np.flatnonzero(full) for _ in families]])
    repeated = {name: column[rows] for name, column in table.items()}
    repeated["family"] = np.concatenate([table["family"][~full], np.repeat(families, full.sum())])
    return repeated


def scorers(table: Columns) -> list[str]:
    """Weights that the table has scores of."""
    return [name.removesuffix(" center") for name in table if name.endswith(" center")]


def within(table: Columns, score: str, against: str) -> tuple[float, float, float, tuple[float, float]]:
    """Correlation within each curve: mean, least, greatest, and the interval of the mean over subjects.

    NaN where no curve has a correlation: it takes three rates.
    """
    columns = [table[name] for name in CURVE]
    rho = by_group(srcc, columns, table[score], table[against])
    subject = table["subject"][[rows[0] for rows in group_rows(columns)]]
    known = rho[np.isfinite(rho)]  # without curves that have no values, such as of images without background
    if not known.size:
        return np.nan, np.nan, np.nan, (np.nan, np.nan)
    return float(known.mean()), float(known.min()), float(known.max()), bootstrap(np.nanmean, subject, rho)


def spread(table: Columns, score: str) -> float:
    """Standard deviation of the score among slices and seeds at equal method, family and R; root of the mean square."""
    setting = [table[name] for name in ("method", "family", "acceleration")]
    return float(np.sqrt(np.mean(by_group(np.var, setting, table[score]))))


def claims(table: Columns) -> list[Claim]:
    """A7 and A8 by each predictor's scores."""
    return [claim for weights in scorers(table) for claim in _claims(table, weights)]


def _claims(table: Columns, weights: str) -> list[Claim]:
    method = "modl" if "modl" in table["method"] else str(table["method"][-1])
    mean, least, greatest, interval = within(
        curves(where(table, method=method)), f"{weights} center", "effective_acceleration"
    )
    extent = f"mean {_number(mean, interval)}, from {least:+.2f} to {greatest:+.2f}"
    if np.isnan(mean):
        extent = "unknown: it takes three rates"
    whole, inside = spread(table, f"{weights} whole"), spread(table, f"{weights} foreground")

    def reduction(rows: np.ndarray) -> float:
        drawn = {name: column[rows] for name, column in table.items()}
        return _ratio(spread(drawn, f"{weights} whole"), spread(drawn, f"{weights} foreground"))

    interval = bootstrap(reduction, table["subject"], np.arange(len(table["subject"])), n=200)
    times = f"{_number(whole / inside, interval, '.2f')} times less" if inside > 0 else "of one image at each R"
    return [
        Claim(
            "A7",
            "the score of the central patch falls with R on MoDL's output",
            f"{weights}: Spearman with effective R within a slice, {extent} (bar {A7_BAR})",
            f"{method}; {describe(where(table, method=method))}",
            mean <= A7_BAR if np.isfinite(mean) else None,
        ),
        Claim(
            "A8",
            "the whole-image score is unstable because of the background",
            f"{weights}: sd at equal R {whole:.2f} whole, {inside:.2f} foreground: {times} "
            f"(bar {A8_BAR:g}); background scores {np.nanmean(table[f'{weights} background']):.0f}, "
            f"{100 * np.nanmean(table[f'{weights} background_low']):.0f} % of it below 50",
            describe(table),
            whole / inside >= A8_BAR if inside > 0 else None,
        ),
    ]  # fmt: skip


def describe(table: Columns) -> str:
    """Counts of rows, slices and subjects."""
    slices = len(group_rows([table["subject"], table["slice"]]))
    subjects = len(np.unique(table["subject"]))
    return f"{len(table['subject'])} images, {slices} slices, {subjects} subjects"


def answer(table: Columns) -> str:
    """Report in markdown."""
    parts = ["# Score against the undersampling rate R", "", describe(table), ""]
    parts += [claims_table(claims(table)), ""]
    parts += ["## Within a slice, and across slices", "", *_correlations(table), ""]
    parts += ["## Spread at equal R", "", *_spreads(table), ""]
    parts += ["## R from one image", "", *_predictions(table)]
    return "\n".join(parts)


def _correlations(table: Columns) -> list[str]:
    lines = []
    scores = [f"{w} {region}" for w in scorers(table) for region in ("center", "whole", "foreground")]
    for method, rows in settings(table).items():
        if method == "all methods":
            correlations = [(n, None, None, _pooled(rows, n)) for n in (*scores, *BASELINES)]
        else:
            curve = curves(rows)
            correlations = [
                (n, within(curve, n, "effective_acceleration"), within(curve, n, "nrmse"), _pooled(rows, n))
                for n in (*scores, *BASELINES)
            ]
        best = max(abs(pooled[0]) for *_, pooled in correlations)
        for name, by_rate, by_error, (rho, interval) in correlations:
            cell = _number(rho, interval)
            cell = f"**{cell}**" if abs(rho) == best else cell
            lines.append([method, name, _within(by_rate), _within(by_error), cell])
    return [
        "Spearman's correlation with effective R and with NRMSE; within: mean (worst) of the curves "
        "of each slice, family and seed; pooled: all images of the method together [95 % interval over subjects].",
        "",
        markdown_table(["method", "score", "R, within", "NRMSE, within", "NRMSE, pooled"], lines),
    ]


def _pooled(rows: Columns, name: str) -> tuple[float, tuple[float, float]]:
    values = rows[name], rows["nrmse"]
    return srcc(*values), bootstrap(srcc, rows["subject"], *values, n=300)


def _spreads(table: Columns) -> list[str]:
    lines = []
    for weights in scorers(table):
        for method, rows in settings(table).items():
            whole, center, inside = (spread(rows, f"{weights} {r}") for r in ("whole", "center", "foreground"))
            shares = (_share(rows, f"{weights} whole", f"{weights} {r}") for r in ("background", "foreground"))
            sizes = (whole, center, inside, _ratio(whole, inside))
            lines.append([weights, method, *(f"{x:.2f}" for x in sizes), *(f"{100 * s:.0f} %" for s in shares)])
    heads = [
        "weights", "method", "whole", "center", "foreground", "whole / foreground", "background's share",
        "foreground's",
    ]  # fmt: skip
    return [
        "Standard deviations among slices and seeds at equal method, family and R; shares of the variance of the "
        "whole-image score that follow the score of the background, and that of the foreground (squared correlation).",
        "",
        markdown_table(heads, lines),
    ]


def _share(table: Columns, score: str, part: str) -> float:
    """Squared correlation of two scores about their means at equal method, family and R."""
    a, b = table[score].astype(float), table[part].astype(float)
    known = np.isfinite(a) & np.isfinite(b)
    for rows in group_rows([table[name][known] for name in ("method", "family", "acceleration")]):
        rows = np.flatnonzero(known)[rows]
        a[rows] -= a[rows].mean()
        b[rows] -= b[rows].mean()
    norm = np.sqrt((a[known] ** 2).sum() * (b[known] ** 2).sum())
    return float((a[known] * b[known]).sum() / norm) ** 2 if norm > 0 else float("nan")


def predictions(table: Columns, *, leave_family: bool) -> dict[str, list[Prediction]]:
    """Predictions of R by every estimator, for each method and all together; of classical metrics, by the best."""
    scores = [f"{w} {region}" for w in scorers(table) for region in ("center", "foreground")]
    by_setting = {}
    for setting, rows in settings(table).items():
        every = [predict(rows, fit, name, leave_family=leave_family) for name, fit in estimators(scores).items()]
        classical = {f"isotonic on {name}" for name in BASELINES}
        best = min((p for p in every if p.estimator in classical), key=lambda p: p.mae)
        by_setting[setting] = [p for p in every if p.estimator not in classical or p is best]
    return by_setting


def _predictions(table: Columns) -> list[str]:
    if not enough_subjects(table):
        return [NEEDS_SUBJECTS]
    families = np.unique(table["family"][table["family"] != FULL])
    rates = ", ".join(f"{r:g}" for r in np.unique(table["acceleration"]))
    lines = [
        f"R among {rates}, each reconstruction by itself. Fitted on other subjects; below, on other families of masks "
        "as well. Of the isotonic fits on classical metrics the best in hindsight is shown. Top-1: nearest R is the "
        "true one; MAE in R and in 1/R [95 % interval over subjects].",
    ]
    for leave_family in (False, True) if len(families) > 1 else (False,):
        lines += ["", f"### Unseen subjects{', unseen family of masks' if leave_family else ''}", ""]
        rows = []
        for setting, every in predictions(table, leave_family=leave_family).items():
            best = min(p.mae for p in every)
            for p in every:
                mae = _number(p.mae, p.mae_interval, ".2f")
                mae = f"**{mae}**" if p.mae == best else mae
                rows.append(
                    [setting, p.estimator, _number(p.top1, p.top1_interval, ".2f"), mae, f"{p.mae_inverse:.3f}"]
                )
        lines.append(markdown_table(["method", "estimator", "top-1", "MAE, R", "MAE, 1/R"], rows))
    return lines


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else float("nan")


def _within(correlation: tuple[float, float, float, tuple[float, float]] | None) -> str:
    if correlation is None:
        return ""
    mean, least, greatest, _ = correlation
    if np.isnan(mean):
        return "unknown"
    return f"{mean:+.2f} ({greatest if mean < 0 else least:+.2f})"


def _number(value: float, interval: tuple[float, float], form: str = "+.2f") -> str:
    return "unknown" if np.isnan(value) else with_interval((value, *interval), form)
