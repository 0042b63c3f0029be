"""Report of the benefit of tuning without ground truth, and of the score beside held-out samples."""

from collections.abc import Iterator

import numpy as np

from mriqf.studies._frame.reporting import Interval, markdown_table, with_interval
from mriqf.studies._frame.statistics import bootstrap
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.selfsup.arms import START, Arm
from mriqf.studies.selfsup.measure import KEY

FIGURES = {
    "psnr": ("PSNR, dB", 2),
    "ssim": ("SSIM", 4),
    "nrmse": ("NRMSE", 4),
    "score": ("score", 1),
    "outside": ("outside", 2),
    "entropy": ("entropy", 4),
}
"""Columns, with title and digits."""
BEGIN, SUPERVISED, HELD_OUT, MEASURED = (Arm(name) for name in (START, "supervised", "held-out", "measured"))

# Fixed before the first run.
RULE = (
    "Rule, fixed before: one arm is better than another if the 95 % interval of the difference in PSNR or in SSIM "
    "lies above 0, as printed, and that of neither below, worse the other way round, and mixed if one lies above and "
    "one below. Intervals are bootstrapped over subjects, whose measurements are the same for all arms; each arm was "
    "trained once, and what another seed would give is not in them. Coils, phase and noise are simulated, coil maps "
    "known."
)


def answer(table: Columns) -> str:
    """Report in markdown."""
    names = [str(table[k][0]) for k in ("predictor", "other")]
    text = [
        "# MoDL without ground truth",
        f"All arms are trained for {table['budget'][0]}: supervised on the image's error; held-out on the error in "
        "samples that the network was not given (SSDU); measured on the error in all samples, all of which it was "
        "given; the last two also with λ·(1 − score/100) beside it. Magnitudes in the object, scaled by least squares. "
        f"Score is that of {names[0]}, which is in the loss; outside that of {names[1]} and entropy that of the "
        "gradients (lower is better), which are not.",
    ]
    for rate in rates(table):
        part = at(table, rate)
        text += [f"## R = {rate}: {_counts(part)}", _means(part), _changes(part), *_sentences(part)]
    return "\n\n".join([*text, RULE])


def rates(table: Columns) -> list[int]:
    """Accelerations, rising."""
    return [int(r) for r in np.unique(table["acceleration"])]


def at(table: Columns, rate: int) -> Columns:
    """Rows of one acceleration.

    Raises
    ------
    ValueError
        If an arm lacks measurements that others have.
    """
    part = where(table, acceleration=rate)
    sizes = {len(rows(part, arm)["psnr"]) for arm in arms(part)}
    missing = {BEGIN, SUPERVISED, HELD_OUT, MEASURED} - set(arms(part))
    if missing or len(sizes) > 1:
        raise ValueError(f"R = {rate}: not all arms were measured alike: let the study end")
    return part


def arms(table: Columns) -> list[Arm]:
    """Arms in the order of the rows: without the score, then with rising weights."""
    pairs = dict.fromkeys(zip(table["arm"].tolist(), table["lam"].tolist(), strict=True))
    return sorted((Arm(name, lam) for name, lam in pairs), key=lambda arm: arm.lam)


def rows(table: Columns, arm: Arm) -> Columns:
    """Rows of one arm, in the order of measurements."""
    chosen = where(table, arm=arm.name, lam=arm.lam)
    order = np.lexsort([chosen[name] for name in KEY[:-2]])
    return {name: column[order] for name, column in chosen.items()}


def change(table: Columns, name: str, arm: Arm, base: Arm) -> Interval:
    """Mean difference of a column between two arms, measurement by measurement."""
    changed = rows(table, arm)
    values = changed[name] - rows(table, base)[name]
    return float(values.mean()), *bootstrap(lambda v: float(v.mean()), changed["subject"], values)


def verdict(table: Columns, arm: Arm, base: Arm) -> str:
    """Verdict on an arm against another."""
    changes = [tuple(round(v, FIGURES[name][1]) for v in change(table, name, arm, base)) for name in ("psnr", "ssim")]
    if np.isnan([low for _, low, _ in changes]).any():
        return "too few subjects"
    above, below = any(low > 0 for _, low, _ in changes), any(high < 0 for _, _, high in changes)
    return "mixed" if above and below else "better" if above else "worse" if below else "undecided"


def comparisons(table: Columns) -> list[tuple[Arm, Arm]]:
    """Pairs of arms to compare: without the score, then the score against none."""
    plain = [(arm, BEGIN) for arm in (SUPERVISED, HELD_OUT, MEASURED)] + [(HELD_OUT, SUPERVISED)]
    against = [(arm, base) for base in (HELD_OUT, MEASURED) for arm in _scored(table, base)]
    alone = [(arm, BEGIN) for arm in _scored(table, MEASURED)]
    return [*plain, *against, *alone]


def title(arm: Arm) -> str:
    """Title of an arm."""
    return f"{arm.name} + {arm.lam:g}·score" if arm.lam else arm.name


def _means(table: Columns) -> str:
    lines = []
    for arm in arms(table):
        values = rows(table, arm)
        lines.append([title(arm), *(_plain(values[name], digits) for name, (_, digits) in FIGURES.items())])
    scores = [_plain(table[f"true_{name}"], FIGURES[name][1]) for name in ("score", "outside", "entropy")]
    return markdown_table(["arm", *(t for t, _ in FIGURES.values())], [*lines, ["truth", "", "", "", *scores]])


def _changes(table: Columns) -> str:
    lines = []
    for arm, base in comparisons(table):
        cells = [with_interval(change(table, name, arm, base), f"+.{digits}f") for name, (_, digits) in FIGURES.items()]
        lines.append([title(arm), title(base), *cells, f"**{verdict(table, arm, base)}**"])
    return markdown_table(["arm", "against", *(f"Δ {t}" for t, _ in FIGURES.values()), ""], lines)


def _sentences(table: Columns) -> Iterator[str]:
    gain = {arm: change(table, "psnr", arm, BEGIN)[0] for arm in arms(table)}
    text = (
        f"In PSNR, truth brings {gain[SUPERVISED]:+.2f} dB, held-out lines {gain[HELD_OUT]:+.2f} dB, "
        f"measured samples alone {gain[MEASURED]:+.2f} dB"
    )
    if alone := _scored(table, MEASURED):
        best = max(alone, key=gain.__getitem__)
        text += f", and with the score beside them at most {gain[best]:+.2f} dB (λ = {best.lam:g})"
    yield f"{text}."
    for base, data in ((HELD_OUT, "held-out lines"), (MEASURED, "all measured samples")):
        if scored := _scored(table, base):
            better, worse = ([a for a in scored if verdict(table, a, base) == says] for says in ("better", "worse"))
            pleased = [a for a in worse if change(table, "score", a, base)[0] > 0]
            beyond = [a for a in scored if rows(table, a)["score"].mean() > table["true_score"].mean()]
            yield (
                f"The score beside {data} makes images better at {_list(better)}, and worse at {_list(worse)}; worse "
                f"although the score rises at {_list(pleased)}; it exceeds the truth's own at {_list(beyond)}."
            )


def _scored(table: Columns, base: Arm) -> list[Arm]:
    return [arm for arm in arms(table) if arm.lam and arm.name == base.name]


def _plain(values: np.ndarray, digits: int) -> str:
    return f"{values.mean():.{digits}f}"


def _list(chosen: list[Arm]) -> str:
    return f"λ = {', '.join(f'{arm.lam:g}' for arm in chosen)}" if chosen else "no λ"


def _counts(table: Columns) -> str:
    n = len(rows(table, BEGIN)["psnr"])
    families = ", ".join(dict.fromkeys(table["family"].tolist()))
    return f"{n} measurements of {len(np.unique(table['subject']))} subjects, masks {families}"
