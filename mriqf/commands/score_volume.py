"""Scoring of one volume: rows of a table, quality map and pictures."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from mriqf import __version__
from mriqf.calibration import LIMIT, Calibration, CutOff
from mriqf.commands.score_table import expected_columns, resolved_in_words
from mriqf.commands.table_file import writing
from mriqf.io import Axis, Volume, cut_along, read, write_map, write_overlay
from mriqf.scoring.foreground import mask_reader
from mriqf.scoring.result import SliceScore
from mriqf.scoring.scorer import Scorer, check_channels, notes


@dataclass(frozen=True)
class Job:
    """Settings common to all volumes."""

    scorer: Scorer
    weights: str
    cut: CutOff | None
    mask: Path | None
    axis: Axis
    slices: slice
    map_dir: Path | None
    overlay_dir: Path | None
    force_score: bool
    """Keep the score of slices outside the domain of the calibration."""
    force: bool
    quiet: bool = False
    """No progress bar."""


def score_volume(
    job: Job, source: str, name: str, tell: Callable[[dict[str, Any]], object], volume: Volume | None = None
) -> None:
    """Score one volume: pass on the row of each slice as soon as it is scored, write map and pictures.

    Parameters
    ----------
    job
        Scorer and options of the run.
    source
        File or folder, as messages and tables name it.
    name
        Stem of the output files.
    tell
        Called with the row of each slice: columns of `mriqf.commands.score_table.columns`.
    volume
        Volume of `source`, if it is open already.
    """
    volume = cut_along(read(source) if volume is None else volume, job.axis)
    check_channels(volume.channels, job.scorer.predictor)
    mask = None if job.mask is None else mask_reader(cut_along(read(job.mask), job.axis), volume)
    deep = volume.grid[0]
    chosen = range(deep)[job.slices]
    if not chosen:
        raise ValueError(f"--slices selects none of its {deep} slices: choose others")
    indices = [start + k for start in range(0, volume.n_slices, deep) for k in chosen]
    setting = job.scorer.prepare(volume, indices)
    scale, lattice = setting.scale, setting.lattice
    map_path = None if job.map_dir is None else map_file(job.map_dir, name)
    whole = {
        "input": source,
        "unit": job.scorer.predictor.unit,
        "resolved": resolved_in_words(setting.resolved, volume.shape),
        "resolution": None if setting.resolved is None else job.scorer.resolution,
        "pool": job.scorer.pool,
        "weights": job.weights,
        "foreground": "automatic" if mask is None else str(job.mask),
        "axis": job.axis,
        "low": scale.low,
        "high": scale.high,
        "threshold": scale.threshold,
        "jpeg_quality": None if lattice is None else lattice.quality,
        "map": None if map_path is None else str(map_path),
        "version": __version__,
        "note": "; ".join(notes(volume, job.scorer.predictor, setting.resolved)),
    }

    def scored() -> Iterator[SliceScore]:
        results = job.scorer.slices(volume, indices, setting=setting, mask=mask)
        hidden = True if job.quiet else None  # None hides the bar unless on a terminal
        for result in tqdm(results, name, len(indices), file=sys.stderr, disable=hidden, leave=False, unit="slice"):
            place = {"slice": result.index % deep, "time": result.index // deep if volume.n_slices > deep else None}
            row: dict[str, Any] = {
                **whole,
                **place,
                "score": result.value,
                "foreground_fraction": result.foreground_fraction,
            }
            if job.scorer.calibration is not None and result.expected is not None:
                row |= expected_columns(result.expected, job.cut)
                if result.expected.unlike and not job.force_score:
                    row["score"] = None  # a number would be taken for a valid score
            tell(row)
            if job.overlay_dir is not None:
                picture = overlay_file(job.overlay_dir, name, row["slice"], row["time"])
                _write_picture(picture, row, result, rows_up=volume.rows_up, force=job.force)
            yield result

    if map_path is None:
        for _ in scored():
            pass
    else:
        about = f"mriqf {__version__}, {Path(job.weights).stem}: {job.scorer.predictor.unit}"[:79]  # bytes of a header
        with writing(map_path):
            write_map(map_path, volume, _maps(scored(), volume), limits=(0, 100), description=about, force=job.force)


def choose_cut_off(calibration: Calibration | None, limit: float | None) -> CutOff | None:
    """Cut-off of a calibration for an NRMSE limit; None if the default limit is unknown to it.

    Raises
    ------
    ValueError
        If the given limit is unknown to the calibration, or there is none.
    """
    if calibration is None:
        if limit is not None:
            raise ValueError(f"--limit is {limit:g}, but there is no calibration: give one by --calibration FILE")
        return None
    try:
        return calibration.cut_off(LIMIT if limit is None else limit)
    except ValueError:
        if limit is None:
            return None
        raise


def plain_name(source: str) -> str:
    """Name of a file or folder without endings: stem of its output files."""
    return Path(source).name.split(".")[0] or "input"


def output_names(inputs: Sequence[str]) -> list[str]:
    """Unique stem of the output files of each input."""
    names: list[str] = []
    for source in inputs:
        plain = stem = plain_name(source)
        count = 1
        while plain in names:
            count += 1
            plain = f"{stem}-{count}"
        names.append(plain)
    return names


def map_file(folder: Path, name: str) -> Path:
    """Path of the map of a volume."""
    return folder / f"{name}_quality.nii.gz"


def overlay_file(folder: Path, name: str, index: int, time: int | None) -> Path:
    """Path of the picture of a slice."""
    return folder / (f"{name}_{index:04d}.png" if time is None else f"{name}_t{time:03d}_{index:04d}.png")


def _write_picture(path: Path, row: dict[str, Any], result: SliceScore, *, rows_up: bool, force: bool) -> None:
    place = f"slice {row['slice']}" + ("" if row["time"] is None else f"  time {row['time']}")
    number = row.get("domain", "ok") if row["score"] is None else f"score {result.value:.1f}"
    title = f"{Path(row['input']).name}  {place}  {number}"
    with writing(path):
        write_overlay(path, result.image, result.map, result.foreground, rows_up=rows_up, title=title, force=force)


def _maps(results: Iterator[SliceScore], volume: Volume) -> Iterator[Float32[np.ndarray, "h w"]]:
    """Maps of all slices of the volume, NaN for those that were not scored."""
    empty = np.full(volume.shape, np.nan, np.float32)
    written = 0
    for result in results:
        for _ in range(result.index - written):
            yield empty
        yield result.map
        written = result.index + 1
    for _ in range(volume.n_slices - written):
        yield empty
