"""Report as one HTML file with style, script and data, which loads nothing from a network."""

import base64
import hashlib
import html
import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from mriqf import __version__
from mriqf.calibration import Expected
from mriqf.html.pictures import Picture, colours
from mriqf.html.scores import FAR, LEAST, ScoredSlice, ScoredVolume, deviations, worst_first
from mriqf.html.trends import Trend, trends

WIDTHS = (0.1, 0.2, 0.5, 1, 2, 5)  # of bins of the histogram, at most BINS of them
BINS = 25


def page(
    volumes: Sequence[ScoredVolume],
    pictures: Sequence[tuple[Sequence[Picture], str]],
    unscored: Mapping[str, str] | None = None,
    *,
    tables: Sequence[Path] = (),
    folder: Path = Path(),
    by: Sequence[str] = (),
) -> str:
    """HTML report.

    Names and messages are data of the page's script, which shows them as text only; the page's policy runs no other
    script and loads nothing. The same volumes give the same page.

    Parameters
    ----------
    volumes
        At least one, all by the same weights and pool.
    pictures
        Pictures of each volume (none if it cannot be read), and the reason for missing pictures or maps.
    unscored
        Names of inputs without a score, and the reason.
    tables
        Tables of the scores, to link.
    folder
        Folder of the page: links are relative to it.
    by
        Further columns of groups, beside the known ones.
    """
    scores = np.array([volume.score for volume in volumes])
    away = deviations(scores)
    below = np.array([volume.cut_off is not None and volume.score < volume.cut_off for volume in volumes])
    known = scores[np.isfinite(scores)]
    edges, counts = histogram(known.tolist())
    order = worst_first(scores, away, below)
    data: dict[str, Any] = {
        "version": __version__,
        "weights": volumes[0].weights,
        "unit": volumes[0].unit,
        "pool": volumes[0].pool,
        "tables": [{"name": str(table), "href": link(table, folder)} for table in tables],
        "far": FAR,
        "least": LEAST,
        "median": float(np.median(known)) if known.size else None,
        "colours": colours(range(0, 101, 10)),
        "edges": edges,
        "counts": counts,
        "cutOff": _common([volume.cut_off for volume in volumes]),
        "limit": _common([volume.limit for volume in volumes]),
        "unscored": [{"name": name, "reason": reason} for name, reason in (unscored or {}).items()],
        "volumes": [_volume(volumes[i], *pictures[i], plain(float(away[i])), folder) for i in order],
        "trends": [_trend(trend) for trend in trends(scores[order], [volumes[i].about for i in order], by)],
    }
    # Key of the ratings in the browser's storage, so that those of other scores are not mixed up with them.
    data["id"] = hashlib.sha256(repr([(v["name"], v["score"]) for v in data["volumes"]]).encode()).hexdigest()[:16]
    return assemble("page", data)


def assemble(name: str, data: dict[str, Any]) -> str:
    """Assemble `name`.html with its script, style and data, and a policy that forbids to run or load anything else."""
    own = files("mriqf.html")
    style, common, script, markup = (
        own.joinpath(part).read_text(encoding="utf-8")
        for part in ("page.css", "common.js", f"{name}.js", f"{name}.html")
    )
    script = common + script
    sources = f"style-src '{policy_hash(style)}'; script-src '{policy_hash(script)}'"
    policy = f"default-src 'none'; img-src data:; {sources}; base-uri 'none'; form-action 'none'"
    # Data come last, so that no mark is replaced in them.
    for mark, text in (
        ("%POLICY%", html.escape(policy)), ("%STYLE%", style), ("%SCRIPT%", script), ("%DATA%", embedded_json(data)),
    ):  # fmt: skip
        markup = markup.replace(mark, text)
    return markup


def histogram(values: Sequence[float]) -> tuple[list[float], list[int]]:
    """Edges and counts of bins of equal width; the last bin includes its right edge."""
    if not values:
        return [], []
    low, high = min(values), max(values)
    width = next((w for w in WIDTHS if (high - low) / w < BINS - 1), WIDTHS[-1])
    first = math.floor(low / width)
    last = max(math.ceil(high / width), first + 1)
    edges = [round(float(k * width), 6) for k in range(first, last + 1)]
    counts, _ = np.histogram(values, edges)
    return edges, counts.tolist()


def _volume(
    volume: ScoredVolume, pictures: Sequence[Picture], problem: str, deviation: float | None, folder: Path
) -> dict[str, Any]:
    score, nrmse = plain(volume.score), volume.nrmse
    domain = [s.expected for s in volume.slices if s.expected is not None]
    outside = [e.reason for e in domain if not e.in_domain]
    flags = ["no score"] if score is None else []
    if score is not None and volume.cut_off is not None and volume.score < volume.cut_off:
        flags.append("below the cut-off")
    elif volume.below:
        flags.append(f"{volume.below} slice{'s' * (volume.below > 1)} below the cut-off")
    if deviation is not None and abs(deviation) > FAR:
        flags.append("outlier")
    if domain and len(outside) == len(domain):
        flags.append("unlike calibration")
    if volume.jpeg_quality is not None:
        flags.append(f"JPEG {volume.jpeg_quality:g}")
    if not pictures and problem:
        flags.append("no pictures")
    if volume.note:
        flags.append("note")
    return {
        "name": volume.name,
        "href": link(volume.path, folder),
        "map": None if volume.map is None else link(volume.map, folder),
        "score": score,
        "away": deviation,
        "flags": flags,
        "nrmse": None if nrmse is None else [plain(v) for v in nrmse],
        "inside": [len(domain) - len(outside), len(domain)],
        "worst": volume.slices.index(volume.worst),
        "slices": [_slice(s) for s in volume.slices],
        "amiss": problem,
        "note": volume.note,
        "resolved": volume.resolved,
        "pictures": [
            {
                "slice": _place(volume, p),
                "position": p.position,
                "image": data_url(p.image),
                "map": None if p.map is None else data_url(p.map),
            }
            for p in pictures
        ],
    }


def _trend(trend: Trend) -> dict[str, Any]:
    return {
        "column": trend.column,
        "places": [plain(place) for place in trend.places],
        "groups": [
            [name, *both] for name, *both in zip(trend.groups, map(plain, trend.medians), trend.counts, strict=True)
        ],
        "span": trend.span,
        "running": [[plain(at), plain(value)] for at, value in trend.running],
        "window": trend.window,
    }


def _place(volume: ScoredVolume, picture: Picture) -> int:
    """Index of a picture's slice among the slices of its volume."""
    return next(k for k, s in enumerate(volume.slices) if (s.index, s.time) == (picture.index, picture.time))


def _common(values: Sequence[float | None]) -> float | None:
    """Value that all volumes share; None if they differ."""
    return values[0] if len(set(values)) == 1 else None


def _slice(scored: ScoredSlice) -> list[Any]:
    """Index, score, foreground fraction; with a calibration NRMSE, its interval and domain; time in a time series."""
    row: list[Any] = [scored.index, plain(scored.score), plain(scored.foreground_fraction)]
    if (e := scored.expected) is not None:
        row += [plain(e.nrmse), plain(e.nrmse_low), plain(e.nrmse_high), _kind(e)]
    if scored.time is not None:
        row += [None] * (7 - len(row)) + [scored.time]
    return row


def _kind(expected: Expected) -> str:
    return expected.reason or "ok"


def plain(value: float | None) -> float | None:
    """Rounded value; None for NaN and infinity, which JSON cannot hold."""
    return None if value is None or not math.isfinite(value) else round(value, 4)


def link(path: Path, folder: Path) -> str | None:
    """Percent-encoded relative link, in which no name is taken for a scheme or a query; None if the path is missing."""
    return quote(os.fsencode(os.path.relpath(path, folder))) if path.exists() else None


def data_url(picture: bytes) -> str:
    """Data URL of a WebP picture."""
    return "data:image/webp;base64," + base64.b64encode(picture).decode("ascii")


def policy_hash(text: str) -> str:
    """Hash of a script or style, in the form of a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def embedded_json(data: Any) -> str:
    """JSON in which no character can end the HTML element that holds it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
