"""Report of gains over JPEG by each stopping rule, of claims E1 to E3, and of the time of a fit.

The poster prints no numbers: its experiments were turned into claims, whose bars stand here, before any was measured.

References
----------
Barrack, A deep learning approach to JPEG colour restoration without ground truth, poster, University of Toronto.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mriqf.restore.prior import PriorConfig
from mriqf.studies._frame.reporting import markdown_table, with_interval
from mriqf.studies._frame.statistics import bootstrap
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.restorers.prior.measure import ARMS, MAIN, SWEEP, SWEPT, TIMED, TIMING, Arm
from mriqf.studies.restorers.restoration.protocols import JPEG

WORTH = 0.05
"""Minimum gain in chroma PSNR, in decibels, by the colour term, for claims E1 and E2."""
FALL = 0.1
"""Decibels of PSNR from the peak to the last step above which a fit went too far."""
SETTLE = PriorConfig().settle
"""Steps before SURE and score choose."""
FIGURES = ("psnr", "chroma", "ssim", "psnr_b", "sure", "score", "seconds")

Paired = Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Curves:
    """Measurements of an arm, (photographs, evaluations)."""

    arm: Arm
    steps: Int[np.ndarray, " t"]
    fixed: int
    """Index of the evaluation at the fixed stop."""
    rows: dict[str, Float[np.ndarray, "n t"]]
    jpeg: dict[str, Float[np.ndarray, " n"]]
    """Figures of JPEG, in the same order of photographs."""

    def gain(self, name: str) -> Float[np.ndarray, "n t"]:
        """Difference of a figure from that of JPEG."""
        return self.rows[name] - self.jpeg[name][:, None]

    def stopped(self, name: str, rule: str) -> Paired | None:
        """Gain of each photograph where a rule stops its fit; None where the arm does not know the rule."""
        index = STOPS[rule](self, name)
        return None if index is None else self.gain(name)[np.arange(len(index)), index]

    def peaks(self, name: str = "psnr") -> Int[np.ndarray, " n"]:
        """Step of the largest value of each photograph."""
        return self.steps[self.rows[name].argmax(1)]

    def fall(self, name: str = "psnr") -> Paired:
        """Loss of each photograph from its peak to the last step."""
        return self.rows[name].max(1) - self.rows[name][:, -1]


def _settled(values: Float[np.ndarray, "n t"], steps: Int[np.ndarray, " t"]) -> Int[np.ndarray, " n"] | None:
    """Evaluation with the largest value from `SETTLE` on, as chosen by `fit_prior` without patience."""
    if np.isnan(values).any():
        return None
    early: Bool[np.ndarray, " t"] = steps < min(SETTLE, steps[-1])
    return np.where(early, -np.inf, values).argmax(1)


STOPS: dict[str, Callable[[Curves, str], Int[np.ndarray, " n"] | None]] = {
    "peak": lambda c, name: c.rows[name].argmax(1),
    "fixed": lambda c, name: np.full(len(c.rows[name]), c.fixed),
    "SURE": lambda c, _: _settled(-c.rows["sure"], c.steps),
    "score": lambda c, _: _settled(c.rows["score"], c.steps),
    "last": lambda c, name: np.full(len(c.rows[name]), len(c.steps) - 1),
}
"""Stopping rules; the peak of the figure itself needs the original."""


def curves(columns: Columns) -> dict[str, Curves]:
    """Measurements of all arms, without photographs that a running study has not finished.

    Raises
    ------
    ValueError
        If none is finished.
    """
    main = where(columns, part=MAIN)
    finished = np.unique(where(main, arm=ARMS[-1].name)["image"])  # the last to be measured
    if not finished.size:
        raise ValueError("no photograph has all arms yet: let the study go on")
    main = where(main, image=finished.tolist())
    jpeg = _ordered(where(main, arm=JPEG))
    by_arm = {}
    for arm in ARMS:
        rows = _ordered(where(main, arm=arm.name))
        steps = np.unique(rows["step"]).astype(int)
        fixed = int(np.searchsorted(steps, rows["fixed"][0]))
        shaped = {name: rows[name].reshape(len(finished), -1) for name in FIGURES}
        by_arm[arm.name] = Curves(arm, steps, fixed, shaped, {name: jpeg[name] for name in FIGURES})
    return by_arm


def sweep(columns: Columns, arm: str, name: str) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "n k"]]:
    """Gain of each photograph of the sweep at the fixed stop over a fit without the term, by λ."""
    at_stop = {key: column[columns["step"] == columns["fixed"]] for key, column in columns.items()}
    plain = where(at_stop, part=MAIN, arm="dip")
    known = {image: float(value) for image, value in zip(plain["image"], plain[name], strict=True)}
    rows = where(at_stop, part=[MAIN, SWEEP], arm=arm)
    lams = np.unique(rows["lam"])
    cells = {(image, lam): v for image, lam, v in zip(rows["image"], rows["lam"], rows[name], strict=True)}
    images = [image for image in known if all((image, lam) in cells for lam in lams)]
    gains = np.array([[cells[image, lam] - known[image] for lam in lams] for image in images])
    return lams, gains.reshape(len(images), len(lams))


def answer(columns: Columns) -> str:
    """The study's answer, markdown."""
    by_arm = curves(columns)
    first = by_arm["dip"]
    n, last, fixed = len(first.jpeg["psnr"]), first.steps[-1], first.steps[first.fixed]
    main = where(columns, part=MAIN)
    level = ", ".join(
        f"{first.jpeg[k].mean():.2f} dB {what}" for k, what in (("psnr", "in RGB"), ("chroma", "in Cb, Cr"))
    )
    lams = ", ".join(f"{where(main, arm=a.name)['lam'][0]:g} ({a.label})" for a in ARMS if a.reading)
    lines = [
        "# Deep image prior on JPEG photographs",
        "",
        f"The middle {main['side'][0]:.0f}×{main['side'][0]:.0f} pixels of {n} photographs in RGB, JPEG of quality "
        f"{main['quality'][0]:.0f}, 4:2:0 (PSNR {level}). Each arm is fitted once, for {last} steps, and looked at "
        f"every {first.steps[0]}; what is kept is the running mean of outputs. An arm with the colour term starts from "
        f"the weights and noise of the arm without it; λ is {lams}. SURE sees the image: DIP from the image is what "
        "it is to be compared with. Brackets: 95 % intervals over photographs.",
        "",
        "## Claims",
        "",
        *claims(columns, by_arm),
        "",
        "## Where to stop",
        "",
        f"Mean gain over JPEG, dB. peak: the best look of each photograph, which only the truth tells; fixed: step "
        f"{fixed}, for all; SURE: where its estimate is least, and score: where the predictor's is highest, from step "
        f"{SETTLE} on; last: step {last}.",
    ]
    for name, title in (("psnr", "PSNR of RGB"), ("chroma", "PSNR of Cb and Cr alone")):
        lines += ["", f"{title}:", "", _stops(by_arm, name)]
    lines += ["", f"At the fixed stop, over JPEG ({fixed} steps):", "", _others(by_arm)]
    lines += ["", "## The weight of the colour term", "", *_sweep(columns), "", "## Time", "", *_time(columns, by_arm)]
    return "\n".join(lines)


def claims(columns: Columns, by_arm: dict[str, Curves]) -> Iterator[str]:
    """Claims E1, E2 and E3 with their rules, a line for each comparison."""
    yield (
        f"E1, the colour term restores chroma: holds where, at the fixed stop, it adds more than {WORTH} dB to the "
        "PSNR of Cb and Cr with the whole interval; fails where the whole interval is below; open otherwise."
    )
    yield ""
    for arm, without in (("dip-kl", "dip"), ("dip-kl-histogram", "dip"), ("sure-kl", "sure")):
        a, b = by_arm[arm], by_arm[without]
        gain = a.rows["chroma"] - b.rows["chroma"]
        best = a.rows["chroma"].max(1) - b.rows["chroma"].max(1)
        verdict = _verdict(gain[:, a.fixed], WORTH)
        text = f"{_told(gain[:, a.fixed])} dB, from peak to peak {_told(best)} dB"
        yield f"- {a.arm.label} against {b.arm.label}: {verdict}. {text}."
    yield ""
    yield (
        "E1, a fit without truth restores what JPEG lost: holds where PSNR at the fixed stop is above that of JPEG "
        "with the whole interval, fails where it is below."
    )
    yield ""
    for c in by_arm.values():
        gains = [c.gain(name)[:, c.fixed] for name in ("psnr", "chroma")]
        rgb, chroma = (f"{_verdict(gain, 0.0)}, {_told(gain)} dB" for gain in gains)
        yield f"- {c.arm.label}: RGB {rgb}; Cb and Cr {chroma}."
    yield ""
    yield (
        f"E2, some λ is worth having: holds where the PSNR of Cb and Cr at the fixed stop gains more than {WORTH} dB, "
        "with the whole interval, by the λ > 0 that is best on the other swept photographs; fails where the whole "
        "interval is below."
    )
    yield ""
    yield from (_e2(columns, arm) for arm in SWEPT)
    yield ""
    yield (
        f"E3, a fit that goes on is over-fitted: holds where PSNR falls by more than {FALL} dB from the peak of each "
        "photograph to the last step, with the whole interval; fails, within these steps, where the whole interval is "
        "below, as where the last step is the best."
    )
    yield ""
    for c in by_arm.values():
        fall, peaks = c.fall(), c.peaks()
        text = f"that of Cb and Cr by {_told(c.fall('chroma'), sign=False)} dB"
        text += f"; peak at step {np.median(peaks):.0f} ({peaks.min()} to {peaks.max()})"
        yield f"- {c.arm.label}: {_verdict(fall, FALL)}. PSNR falls by {_told(fall, sign=False)} dB, {text}."


def _e2(columns: Columns, arm: Arm) -> str:
    lams, gains = sweep(columns, arm.name, "chroma")
    if len(lams) < 2 or len(gains) < 2:
        return f"- {arm.label}: not measured."
    others = gains.sum(0) - gains
    gain = gains[np.arange(len(gains)), others.argmax(1)]
    top = gains.mean(0).argmax()
    return (
        f"- {arm.label}: {_verdict(gain, WORTH)}. {_told(gain)} dB on {len(gain)} photographs; best on all of them is "
        f"λ = {lams[top]:g} with {gains[:, top].mean():+.2f} dB."
    )


def _verdict(values: Paired, bar: float) -> str:
    low, high = _interval(values)
    return "holds" if low > bar else "**fails**" if high < bar else "open"


def _stops(by_arm: dict[str, Curves], name: str) -> str:
    rows = []
    for c in by_arm.values():
        gains = (c.stopped(name, rule) for rule in STOPS)
        cells = ("" if gain is None else _told(gain) for gain in gains)
        rows.append([c.arm.label, f"{np.median(c.peaks(name)):.0f}", *cells])
    return markdown_table(["arm", "step of the peak", *STOPS], rows)


def _others(by_arm: dict[str, Curves]) -> str:
    rows = []
    for c in by_arm.values():
        ssim, psnr_b = (c.gain(name)[:, c.fixed] for name in ("ssim", "psnr_b"))
        rows.append([c.arm.label, _told(ssim, 3), _told(psnr_b)])
    return markdown_table(["arm", "SSIM", "PSNR-B, dB"], rows)


def _sweep(columns: Columns) -> Iterator[str]:
    yield "Gain at the fixed stop over DIP, dB, PSNR of RGB / of Cb and Cr; mean over the swept photographs."
    for arm in SWEPT:
        lams, rgb = sweep(columns, arm.name, "psnr")
        _, chroma = sweep(columns, arm.name, "chroma")
        yield ""
        cells = (f"{a:+.2f} / {b:+.2f}" for a, b in zip(rgb.mean(0), chroma.mean(0), strict=True))
        yield markdown_table(
            [f"{arm.label}, {len(rgb)} photographs", *(f"λ = {lam:g}" for lam in lams)], [["RGB / Cb, Cr", *cells]]
        )


def _time(columns: Columns, by_arm: dict[str, Curves]) -> Iterator[str]:
    threads = " or ".join(f"{k:.0f}" for k in np.unique(columns["threads"]))
    each = ", ".join(f"{c.arm.label} {np.median(c.rows['seconds'][:, c.fixed]):.0f}" for c in by_arm.values())
    yield f"Seconds to the fixed stop with its looks, median over photographs, processor threads {threads}: {each}."
    rows = where(columns, part=TIMING)
    if not len(rows["side"]):
        return
    sides = np.unique(rows["side"])
    yield ""
    lines = []
    for arm in TIMED:
        timed = _by_side(where(rows, arm=arm.name))
        lines.append([arm.label, *(f"{timed[s]:.1f}" if s in timed else "" for s in sides), _growth(timed)])
    yield markdown_table(["seconds of 1000 steps", *(f"{s:.0f}×{s:.0f}" for s in sides), "grows as"], lines)


def _by_side(rows: Columns) -> dict[float, float]:
    taken = 1000 * rows["seconds"] / rows["step"]
    return dict(zip(rows["side"].tolist(), taken.tolist(), strict=True))


def _growth(timed: dict[float, float]) -> str:
    """Exponent of a power law of time over number of pixels, by least squares of logarithms."""
    if len(timed) < 2:
        return ""
    pixels, seconds = 2 * np.log(list(timed)), np.log(list(timed.values()))
    return f"pixels^{np.polyfit(pixels, seconds, 1)[0]:.2f}"


def _ordered(rows: Columns) -> Columns:
    order = np.lexsort((rows["step"], rows["image"]))
    return {name: column[order] for name, column in rows.items()}


def _interval(values: Paired) -> tuple[float, float]:
    return bootstrap(np.mean, np.arange(len(values)), values)


def _told(values: Paired, digits: int = 2, sign: bool = True) -> str:
    return with_interval((float(values.mean()), *_interval(values)), f"{'+' if sign else ''}.{digits}f")
