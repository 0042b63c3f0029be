"""Report of claim A9: effect of the score as a loss on images and colours, and of further settings."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mriqf.metrics.jpeg import SATURATED
from mriqf.studies._frame.reporting import Claim, Interval, claims_table, markdown_table, with_interval
from mriqf.studies._frame.statistics import bootstrap
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.jpeg_report.loss.arms import GUARDS, INPUT, OWN, START
from mriqf.studies.jpeg_report.loss.measure import DOT, JPEG, KEY, NAN

# Fixed before the first run.
SMALL = 0.3
"""Decibels: a gain of more is not small."""
WORSE = -0.05
"""Decibels: a setting whose mean PSNR changes by less than this from the start's does not help."""

SAYS = {
    "grey": "as a loss the score brings a small gain in grey images",
    "rgb": "as a loss the score brings colour artefacts in RGB images",
}
FIGURES = {
    "psnr": ("PSNR, dB", 2),
    "ssim": ("SSIM", 4),
    "psnrb": ("PSNR-B, dB", 2),
    "score": ("score", 1),
    "judge": ("judge", 2),
    "hue": ("hue shift, °", 2),
    "dots": ("dots, ‰", 2),
    "outside": ("outside, %", 2),
    "changed": ("changed, %", 1),
}
"""Columns, with title and digits."""
UNITS = {"dots": 1000, "outside": 100, "changed": 100}

CONTROL = (INPUT, 0.0)


def answer(columns: Columns) -> str:
    """The study's answer, markdown."""
    text = [
        "# The score as a loss",
        "Restorers of JPEG images, trained with truth, then fine-tuned without it on the mean absolute difference of "
        f"output and input + λ·(1 − score/100) (`{INPUT}`; at λ = 0 on the difference alone), or of the output and "
        f"what the network gave before (`{OWN}`), or with a guard. All is measured on 8-bit pictures; in brackets the "
        "95 % interval, bootstrapped over subjects (a photograph is one, and a volume with its slices). Judge: a "
        "predictor outside the loss. Hue shift: mean angle to the truth's hue where its saturation is above "
        f"{SATURATED}, 90° for a pixel that lost its colour. Dots: share of pixels whose Cb or Cr is off by more than "
        f"{DOT} grey levels. Outside: share of coefficients that contradict the file. Changed: share of pixels that "
        "left the JPEG image by more than one grey level.",
        claims_table(claims(columns)),
        "\n".join(f"- `{guard.name}`: {guard.words}" for guard in GUARDS),
    ]
    for (kind, network), table in by_restorer(columns).items():
        text += [
            f"## {kind}, {network}: {_counts(table)}",
            _means(table),
            "Against the network before fine-tuning:",
            _changes(table),
            "\n".join(f"- {line}" for line in _sentences(table)),
        ]
    return "\n\n".join(text)


def claims(columns: Columns) -> list[Claim]:
    """Claim A9 for each restorer, of grey and of RGB images, and whether some setting helps.

    Grey: holds if at some λ above 0 the PSNR does not fall or the SSIM rises against λ = 0, its interval included, and
    at none the mean PSNR gains more than `SMALL`. RGB: holds if at some λ the score rises against λ = 0 and the hue
    shift is above the JPEG image's own, both intervals included. A setting helps if against the network before
    fine-tuning the judge's score rises, its interval included, and the mean PSNR changes by no less than `WORSE`; in
    RGB, if besides the mean hue shift and the share of dots are no larger than the JPEG image's own.
    """
    result = []
    for (kind, network), table in by_restorer(columns).items():
        result += [_grey(table, network) if kind == "grey" else _rgb(table, network), _setting(table, kind, network)]
    return result


def by_restorer(columns: Columns) -> Mapping[tuple[str, str], Columns]:
    """Rows of each kind of images and each network.

    Raises
    ------
    ValueError
        If an arm lacks images that others have.
    """
    pairs = dict.fromkeys(zip(columns["kind"].tolist(), columns["network"].tolist(), strict=True))
    tables = {(kind, network): where(columns, kind=kind, network=network) for kind, network in pairs}
    for (kind, network), table in tables.items():
        sizes = [len(rows["psnr"]) for rows in (arm_rows(table, *arm) for arm in arms(table))]
        if len(set(sizes)) > 1 or len(sizes) < 3 or 0 not in lams(table):
            raise ValueError(f"{kind}, {network}: not all arms were measured on the same images: let the study end")
    return tables


def lams(table: Columns, arm: str = INPUT) -> list[float]:
    """Weights of the score that an arm was trained with, rising."""
    return np.unique(where(table, arm=arm)["lam"]).tolist()


def arms(table: Columns) -> list[tuple[str, float]]:
    """JPEG, the start, and the fine-tuned ones with their weights."""
    return [(JPEG, NAN), (START, NAN), *tuned(table)]


def tuned(table: Columns) -> list[tuple[str, float]]:
    """The fine-tuned arms with their weights of the score."""
    names = (INPUT, OWN, *(guard.name for guard in GUARDS))
    return [(name, lam) for name in names for lam in lams(table, name)]


def arm_rows(table: Columns, arm: str, lam: int | float = NAN) -> Columns:
    """Rows of one arm, in the order of images and qualities."""
    rows = where(table, arm=arm) if np.isnan(lam) else where(table, arm=arm, lam=lam)
    order = np.lexsort([rows[name] for name in KEY[4:]])
    return {name: column[order] for name, column in rows.items()}


def mean(table: Columns, name: str) -> Interval:
    """Mean of a column in the unit that it is shown in, and its interval over subjects."""
    return _interval(table, UNITS.get(name, 1) * table[name])


def change(table: Columns, name: str, arm: tuple[str, float], base: tuple[str, float]) -> Interval:
    """Mean difference of a column between two arms on the same images."""
    rows = arm_rows(table, *arm)
    return _interval(rows, UNITS.get(name, 1) * (rows[name] - arm_rows(table, *base)[name]))


def _grey(table: Columns, network: str) -> Claim:
    gains = {lam: [_against_control(table, name, lam) for name in ("psnr", "ssim")] for lam in lams(table) if lam > 0}
    helped = [psnr[1] >= 0 or ssim[1] > 0 for psnr, ssim in gains.values()]
    holds = None if _few(gains.values()) else any(helped) and all(psnr[0] <= SMALL for psnr, _ in gains.values())
    measured = "; ".join(f"λ {lam:g}: {_signed(p, 2)} dB, SSIM {_signed(s, 4)}" for lam, (p, s) in gains.items())
    return Claim(f"A9 grey, {network}", SAYS["grey"], f"against λ = 0: {measured}", _counts(table), holds)


def _rgb(table: Columns, network: str) -> Claim:
    changes = {
        lam: [_against_control(table, "score", lam), change(table, "hue", (INPUT, lam), (JPEG, NAN))]
        for lam in lams(table) if lam > 0
    }  # fmt: skip
    shifted = [score[1] > 0 and hue[1] > 0 for score, hue in changes.values()]
    measured = "; ".join(f"λ {lam:g}: score {_signed(s, 1)}, hue {_signed(h, 2)}°" for lam, (s, h) in changes.items())
    text = f"score against λ = 0, hue shift against the JPEG image's own: {measured}"
    return Claim(
        f"A9 RGB, {network}", SAYS["rgb"], text, _counts(table), None if _few(changes.values()) else any(shifted)
    )


def _setting(table: Columns, kind: str, network: str) -> Claim:
    base = (START, NAN)
    helps, judged = [], []
    jpeg = {name: mean(arm_rows(table, JPEG), name)[0] for name in ("hue", "dots")}
    for arm in tuned(table):
        judge, psnr = (change(table, name, arm, base) for name in ("judge", "psnr"))
        judged.append([judge])
        clean = kind == "grey" or all(mean(arm_rows(table, *arm), name)[0] <= jpeg[name] for name in jpeg)
        if judge[1] > 0 and psnr[0] >= WORSE and clean:
            helps.append(f"{_name(*arm)}: judge {_signed(judge, 2)}, {_signed(psnr, 2)} dB")
    name = "grey" if kind == "grey" else "RGB"
    says = f"a setting exists that an independent score finds better, at no less than {WORSE} dB"
    if kind == "rgb":
        says += ", with hue shift and dots no larger than the JPEG image's own"
    return Claim(
        f"A9 setting, {name}, {network}", says, "; ".join(helps) or "none", _counts(table),
        None if _few(judged) else bool(helps),
    )  # fmt: skip


def _against_control(table: Columns, name: str, lam: float) -> Interval:
    return change(table, name, (INPUT, lam), CONTROL)


def _few(changes: Iterable[Sequence[Interval]]) -> bool:
    """True for too few subjects for an interval, or nothing to compare."""
    lows = [low for intervals in changes for _, low, _ in intervals]
    return not lows or bool(np.isnan(lows).any())


def _means(table: Columns) -> str:
    names = _known(table)
    rows = []
    for arm in arms(table):
        part = arm_rows(table, *arm)
        rows.append([_name(*arm), *(with_interval(mean(part, name), f".{FIGURES[name][1]}f") for name in names)])
    return markdown_table(["", *(FIGURES[name][0] for name in names)], rows)


def _changes(table: Columns) -> str:
    names = [name for name in _known(table) if name != "changed"]
    rows = [
        [_name(*arm), *(_signed(change(table, n, arm, (START, NAN)), FIGURES[n][1]) for n in names)]
        for arm in tuned(table)
    ]
    return markdown_table(["", *(f"Δ {FIGURES[name][0]}" for name in names)], rows)


def _sentences(table: Columns) -> list[str]:
    above = [lam for lam in lams(table) if lam > 0]
    lines = []
    for name, title in (("score", "score"), ("psnr", "PSNR"), ("ssim", "SSIM")):
        changes = {lam: _against_control(table, name, lam) for lam in above}
        rises, falls = ([lam for lam in above if _side(changes[lam], name) == side] for side in (1, -1))
        lines.append(f"Against λ = 0 the {title} rises at {_list(rises)}, and falls at {_list(falls)}.")
    large = [lam for lam in above if _against_control(table, "psnr", lam)[0] > SMALL]
    lines.append(f"Against λ = 0 the PSNR gains more than {SMALL} dB at {_list(large)}.")
    gains = {lam: change(table, "psnr", (INPUT, lam), (START, NAN)) for lam in above}
    if gains:
        best = max(gains, key=lambda lam: gains[lam][0])
        lines.append(
            f"Held to the input, λ = {best:g} comes nearest to the network before fine-tuning, which saw truth: "
            f"{_signed(gains[best], 2)} dB."
        )
    if "hue" in _known(table):
        raised = [lam for lam in above if _side(change(table, "hue", (INPUT, lam), (JPEG, NAN)), "hue") == 1]
        lines.append(f"The hue shift is above the JPEG image's own at {_list(raised)}.")
    return lines


def _side(value: Interval, name: str) -> int:
    """1 if the interval, as printed, lies above 0, −1 if below, else 0."""
    _, low, high = (round(v, FIGURES[name][1]) for v in value)
    return int(low > 0) - int(high < 0)


def _list(values: list[float]) -> str:
    return f"λ = {', '.join(f'{lam:g}' for lam in values)}" if values else "no λ"


def _known(table: Columns) -> list[str]:
    return [name for name in FIGURES if np.isfinite(table[name]).any()]


def _name(arm: str, lam: float) -> str:
    return {JPEG: "JPEG", START: "before fine-tuning"}.get(arm, f"`{arm}`, λ = {lam:g}")


def _counts(table: Columns) -> str:
    rows = where(table, arm=JPEG)
    images = set(zip(_subject(rows), rows["slice"].tolist(), strict=True))
    qualities = ", ".join(f"{q:g}" for q in np.unique(rows["quality"]))
    return f"{len(images)} images of {len(set(_subject(rows)))} subjects at qualities {qualities}"


def _subject(table: Columns) -> list[str]:
    return [f"{d}/{s}" for d, s in zip(table["dataset"].tolist(), table["subject"].tolist(), strict=True)]


def _interval(table: Columns, values: np.ndarray) -> Interval:
    known = np.isfinite(values)  # an image without colour has no hue
    if not known.any():
        return NAN, NAN, NAN
    subject = np.array(_subject(table))[known]
    return float(values[known].mean()), *bootstrap(_mean, subject, values[known])


def _mean(values: np.ndarray) -> float:
    return float(values.mean())


def _signed(value: Interval, digits: int) -> str:
    return with_interval(value, f"+.{digits}f")
