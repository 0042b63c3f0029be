"""The same scans by two reconstructions: their scores in pairs, and what changed."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np
from jaxtyping import Float

from mriqf.html.scores import ScoredSlice, ScoredVolume, read_tables
from mriqf.io import ReadError
from mriqf.scoring.pooling import weighted_mean

ENDINGS = (
    ".nii.gz", ".nii", ".npy", ".npz", ".h5", ".hdf5", ".mrd", ".cfl", ".hdr", ".img", ".dcm", ".ima", ".png", ".jpg",
    ".jpeg", ".tif", ".tiff", ".webp",
)  # fmt: skip
DRAWS = 4999
FEWEST = 5
"""Minimum number of volumes for an interval: a bootstrap of fewer is far too narrow."""
COVERAGE = 0.95


@dataclass(frozen=True)
class PairedVolume:
    """Scores of one scan in both tables."""

    name: str
    """Common part of its names."""
    before: ScoredVolume
    after: ScoredVolume
    slices: tuple[tuple[ScoredSlice, ScoredSlice], ...] = field(repr=False)
    """Slices with a score in both tables."""
    left_out: str
    """Slices that are not compared, and the reason; empty if all are compared."""

    @property
    def scores(self) -> tuple[float, float]:
        """Mean scores over the compared slices, weighted by the mean foreground of both."""
        first, second = (
            weighted_mean([(pair[k].score, _share(pair)) for pair in self.slices]) for k in (0, 1)
        )  # fmt: skip
        return first, second

    @property
    def nrmse(self) -> tuple[float, float] | None:
        """Mean expected NRMSE, weighted alike, over slices where both are known; None if there are none."""
        known = [pair for pair in self.slices if all(s.expected and s.expected.nrmse is not None for s in pair)]
        if not known:
            return None
        first, second = (
            weighted_mean([(pair[k].expected.nrmse, _share(pair)) for pair in known])  # pyright: ignore
            for k in (0, 1)
        )
        return first, second


def read_pairs(
    tables: tuple[Path, Path], labels: tuple[str, str] = ("before", "after")
) -> tuple[list[PairedVolume], dict[str, str]]:
    """Scans that two tables of `mriqf score` have in common.

    Scans are matched by their paths relative to the folder that all inputs of a table share,
    without ending: `cs/sub-1/T1w.nii.gz` and `sense/sub-1/T1w.npy`. Two tables of one input each are a pair whatever
    the names. Slices are matched by time and number.

    Returns
    -------
    list
        Pairs, in the order of the first table.
    dict
        Names of scans that are not compared, and the reason.

    Raises
    ------
    ReadError
        If a table cannot be read, the scores do not compare, two inputs of a table have one name, or no scan is in
        both.
    """
    contents = [read_tables([table]) for table in tables]
    for key in ("weights", "unit", "pool"):
        kinds = [getattr(volumes[0], key) for volumes, _ in contents]
        if kinds[0] != kinds[1]:
            given, kinds_text = " and ".join(map(str, tables)), " and ".join(kind or "none" for kind in kinds)
            raise ReadError(f"{given}: scores by {key} {kinds_text} do not compare: score both with the same")
    first, second = (_by_relative_path(volumes, table) for (volumes, _), table in zip(contents, tables, strict=True))
    if len(first) == len(second) == 1:
        second = dict(zip(first, second.values(), strict=True))
    pairs, excluded = [], {}
    for label, (_, unscored) in zip(labels, contents, strict=True):
        excluded |= {f"{name} ({label})": reason for name, reason in unscored.items()}
    for label, here, there in ((labels[0], first, second), (labels[1], second, first)):
        excluded |= {volume.name: f"only in {label}" for name, volume in here.items() if name not in there}
    for name in first:
        if name in second:
            pair, reason = _pair(name, first[name], second[name], labels)
            if pair is None:
                excluded[name] = reason
            else:
                pairs.append(pair)
    if not pairs:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(excluded.items())[:3])
        raise ReadError(f"{tables[0]} and {tables[1]}: no scan has a score in both ({why}): name the files alike")
    return pairs, excluded


def mean_change(changes: Sequence[float], *, seed: int = 0) -> tuple[float, float, float]:
    """Mean change over volumes, and its 95 % bootstrap interval.

    The ends are NaN with fewer than `FEWEST` volumes.

    References
    ----------
    Efron, Bootstrap methods: another look at the jackknife, Ann Statist 1979, doi:10.1214/aos/1176344552.
    """
    values: Float[np.ndarray, " n"] = np.array(changes, np.float64)
    if len(values) < FEWEST:
        return float(values.mean()), math.nan, math.nan
    drawn = np.random.default_rng(seed).integers(len(values), size=(DRAWS, len(values)))
    tail = 50 * (1 - COVERAGE)
    low, high = np.percentile(values[drawn].mean(1), (tail, 100 - tail))
    return float(values.mean()), float(low), float(high)


def most_changed(pairs: Sequence[PairedVolume], count: int) -> list[tuple[int, int]]:
    """Indices of volume and slice of the slices that changed most, the greatest change first."""
    places = [(v, k) for v, pair in enumerate(pairs) for k in range(len(pair.slices))]
    return sorted(places, key=lambda at: -abs(change(pairs[at[0]].slices[at[1]])))[:count]


def change(pair: tuple[ScoredSlice, ScoredSlice]) -> float:
    """Change of a slice's score in points."""
    return pair[1].score - pair[0].score


def _share(pair: tuple[ScoredSlice, ScoredSlice]) -> float:
    return (pair[0].foreground_fraction + pair[1].foreground_fraction) / 2


def _pair(
    name: str, before: ScoredVolume, after: ScoredVolume, labels: tuple[str, str]
) -> tuple[PairedVolume | None, str]:
    if before.axis != after.axis:
        return None, f"cut across its {before.axis}s and its {after.axis}s"
    first, second = ({(s.time or 0, s.index): s for s in volume.slices} for volume in (before, after))
    both = [(first[at], second[at]) for at in first if at in second]
    kept = tuple(pair for pair in both if not any(math.isnan(s.score) for s in pair) and _share(pair) > 0)
    remarks = []
    for label, here, there in ((labels[0], first, second), (labels[1], second, first)):
        if missing := sum(at not in there for at in here):
            remarks.append(f"{_slices(missing)} only in {label}")
    if len(kept) < len(both):
        reasons = {s.expected.reason for pair in both for s in pair if s.expected and s.expected.unlike}
        why = "unlike calibration" if reasons else "no foreground"
        remarks.append(f"{_slices(len(both) - len(kept))} without a score ({why})")
    left_out = "; ".join(remarks)
    if not kept:
        return None, left_out
    return PairedVolume(name, before, after, kept, left_out), ""


def _slices(count: int) -> str:
    return f"{count} slice{'s' * (count > 1)}"


def _by_relative_path(volumes: Sequence[ScoredVolume], table: Path) -> Mapping[str, ScoredVolume]:
    """Volumes by their path relative to the folder that all share, without ending."""
    paths = [PurePath(volume.name) for volume in volumes]
    shared = os.path.commonpath([os.path.abspath(path.parent) for path in paths])  # noqa: PTH100 (need not exist)
    by_name: dict[str, ScoredVolume] = {}
    for path, volume in zip(paths, volumes, strict=True):
        below = PurePath(os.path.relpath(os.path.abspath(path), shared))  # noqa: PTH100
        key = str(below)
        if ending := next((e for e in ENDINGS if key.lower().endswith(e)), ""):
            key = key[: -len(ending)]
        if key in by_name:
            both = f"{by_name[key].name} and {volume.name}"
            raise ReadError(f"{table}: {both} have one name but for the ending: rename one")
        by_name[key] = volume
    return by_name
