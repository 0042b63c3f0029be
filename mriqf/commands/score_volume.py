"""One volume, from its file to the rows of a table, its map and its pictures."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from mriqf import __version__, scoring
from mriqf.calibration import Calibration, Expected
from mriqf.commands.score_table import expected_columns
from mriqf.inference import Predictor
from mriqf.io import Volume, read, write_map, write_overlay
from mriqf.scale import volume_scale


@dataclass(frozen=True)
class Job:
    """What is the same for all volumes."""

    predictor: Predictor
    weights: str
    pool: str
    calibration: Calibration | None
    mask: Path | None
    slices: slice
    batch_size: int
    map_dir: Path | None
    overlay_dir: Path | None
    force: bool
    quiet: bool = False
    """No progress bar."""


def score_volume(job: Job, source: str, name: str, tell: Callable[[dict[str, Any], Expected | None], object]) -> None:
    """Score one volume: tell the row of each slice as it is known, write its map and pictures.

    Parameters
    ----------
    job
        By what, and what else is wanted.
    source
        File or folder, as it is to be named.
    name
        That the files to write begin with.
    tell
        Is called with each slice's row, and with what is expected of its errors.
    """
    volume = read(source)
    scoring.check_channels(volume.channels, job.predictor)
    mask = None if job.mask is None else scoring.mask_reader(read(job.mask), volume)
    indices = range(volume.n_slices)[job.slices]
    if not indices:
        raise ValueError(f"--slices selects none of its {volume.n_slices} slices: choose others")
    lattice = scoring.jpeg_trace(volume, indices)
    grid = lattice if job.predictor.reads_grid else None
    scale = scoring.own_scale(volume_scale(volume, grid), job.predictor)
    map_path = None if job.map_dir is None else job.map_dir / f"{name}_quality.nii.gz"

    def scored() -> Iterator[scoring.SliceScore]:
        found = scoring.score_slices(
            volume.read_slice,
            indices,
            job.predictor,
            pool=job.pool,
            scale=scale,
            mask=mask,
            lattice=grid,
            calibration=job.calibration,
            batch_size=job.batch_size,
        )
        hidden = True if job.quiet else None  # None: where nobody watches
        for result in tqdm(found, name, len(indices), file=sys.stderr, disable=hidden, leave=False, unit="slice"):
            row = {
                "input": source,
                "slice": result.index,
                "score": result.score,
                "pool": job.pool,
                "weights": job.weights,
                "foreground_fraction": result.foreground_fraction,
                "foreground": "automatic" if mask is None else str(job.mask),
                "low": scale.low,
                "high": scale.high,
                "threshold": scale.threshold,
                "jpeg_quality": None if lattice is None else lattice.quality,
                "map": None if map_path is None else str(map_path),
                "version": __version__,
            }
            if result.expected is not None:
                row |= expected_columns(result.expected)
            tell(row, result.expected)
            if job.overlay_dir is not None:
                write_overlay(
                    job.overlay_dir / f"{name}_{result.index:04d}.png",
                    result.image,
                    result.quality,
                    result.foreground,
                    rows_up=volume.rows_up,
                    title=f"{Path(source).name}  slice {result.index}  quality {result.score:.1f}",
                    force=job.force,
                )
            yield result

    if map_path is None:
        for _ in scored():
            pass
    else:
        write_map(map_path, volume, _maps(scored(), volume), force=job.force)


def plain_name(source: str) -> str:
    """Name of a file or folder without its endings, for files that are made of it."""
    return Path(source).name.split(".")[0] or "input"


def _maps(results: Iterator[scoring.SliceScore], volume: Volume) -> Iterator[Float32[np.ndarray, "h w"]]:
    """A map for every slice of the volume, NaN for those that were not scored."""
    empty = np.full(volume.shape, np.nan, np.float32)
    written = 0
    for result in results:
        for _ in range(result.index - written):
            yield empty
        yield result.quality
        written = result.index + 1
    for _ in range(volume.n_slices - written):
        yield empty
