"""HTML page that compares two reconstructions of the same scans."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mriqf import __version__
from mriqf.html.page import assemble, data_url, link, plain
from mriqf.html.pairs import COVERAGE, FEWEST, PairedVolume, change, mean_change, most_changed
from mriqf.html.pictures import Picture, colours

LISTED = 40
"""Slices that are listed as those that changed most."""
Pictures = Mapping[tuple[int, int], tuple[Picture, Picture]]


def compare(
    pairs: Sequence[PairedVolume],
    pictures: Pictures,
    labels: tuple[str, str],
    apart: Mapping[str, str],
    *,
    tables: Sequence[Path] = (),
    folder: Path = Path(),
) -> str:
    """HTML page of a comparison, assembled as in `mriqf.html.page`.

    Parameters
    ----------
    pairs
        At least one.
    pictures
        Pictures of a slice by either reconstruction, by indices of volume and slice.
    labels
        Names of the reconstructions.
    apart
        Names of scans that are not compared, and the reason.
    tables, folder
        See `mriqf.html.page.page`.
    """
    changes = [pair.scores[1] - pair.scores[0] for pair in pairs]
    errors = [pair.nrmse[1] - pair.nrmse[0] for pair in pairs if pair.nrmse is not None]
    slices = [change(one) for pair in pairs for one in pair.slices]
    volume = pairs[0].before
    data: dict[str, Any] = {
        "version": __version__,
        "labels": labels,
        "weights": volume.weights,
        "unit": volume.unit,
        "pool": volume.pool,
        "tables": [{"name": str(table), "href": link(table, folder)} for table in tables],
        "colours": colours(range(0, 101, 10)),
        "coverage": COVERAGE,
        "fewest": FEWEST,
        "change": [plain(v) for v in mean_change(changes)],
        "nrmseChange": [plain(v) for v in mean_change(errors)] if errors else None,
        "nrmseVolumes": len(errors),
        "better": [sum(c > 0 for c in changes), len(changes), sum(c > 0 for c in slices), len(slices)],
        "median": plain(float(np.median(changes))),
        "volumes": [_volume(pair) for pair in pairs],
        "changed": [
            {"volume": v, "slice": k, "pictures": [_picture(p) for p in pictures.get((v, k), ())]}
            for v, k in most_changed(pairs, LISTED)
        ],
        "apart": [{"name": name, "reason": reason} for name, reason in apart.items()],
    }
    return assemble("compare", data)


def _volume(pair: PairedVolume) -> dict[str, Any]:
    return {
        "name": pair.name,
        "inputs": [pair.before.name, pair.after.name],
        "scores": [plain(v) for v in pair.scores],
        "nrmse": None if pair.nrmse is None else [plain(v) for v in pair.nrmse],
        "note": pair.left_out,
        "slices": [
            [first.index, first.time, plain(first.score), plain(second.score), _error(first), _error(second)]
            for first, second in pair.slices
        ],
    }


def _error(scored: Any) -> float | None:
    return None if scored.expected is None else plain(scored.expected.nrmse or math.nan)


def _picture(picture: Picture) -> dict[str, Any]:
    return {"image": data_url(picture.image), "map": None if picture.map is None else data_url(picture.map)}
