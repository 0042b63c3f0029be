"""`mriqf score`: one line a slice on standard output; tables, maps and pictures on request."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from mriqf import __version__, scoring
from mriqf.calibration import LIMIT, Calibration, CutOff, Expected
from mriqf.calibration_file import attached
from mriqf.cli import UsageError
from mriqf.commands.options import choose_device, parse_slices, say
from mriqf.commands.score_table import as_csv, as_json, expected_columns, line, summary
from mriqf.inference import Predictor, fast
from mriqf.io import Volume, atomic_path, read, write_map, write_overlay
from mriqf.scale import volume_scale
from mriqf.weights import load_predictor


def score(
    *inputs: str,
    weights: str = "qf-mri",
    pool: str = "auto",
    calibration: str = "auto",
    limit: float | None = None,
    mask: Path | None = None,
    slices: str = ":",
    csv: Path | None = None,
    json: Path | None = None,
    map_dir: Path | None = None,
    overlay_dir: Path | None = None,
    device: str = "auto",
    batch_size: int = 8,
    force: bool = False,
) -> int:
    """Score images that have no reference.

    Prints one tab-separated line a slice: input, slice, score (0–100, higher is better), pool, weights, and the share
    of the slice that is foreground. The score of each whole input goes to standard error. With a calibration, a line
    goes on with the NRMSE to expect and its interval, and `ok`, or why there is none: an image of an unknown kind.

    Parameters
    ----------
    inputs
        Files in fastMRI HDF5, ISMRMRD, NIfTI, DICOM, BART, NumPy, PNG, JPEG or TIFF, or folders of a DICOM series.
    weights
        Name or path of trained weights: qf-mri for MR images, qf-rgb for photographs, qf-gray for JPEG qualities.
    pool
        How the map becomes a number: rms (of errors), foreground, mean, center, or minkowski:p; auto: the weights' own.
    calibration
        File by `mriqf calibrate`, or none; auto: that beside the weights, if there is one.
    limit
        NRMSE above which an image is bad, 0.10 if not given: the cut-off that is told goes with it.
    mask
        File with your own foreground (not zero), of the size of each input, instead of the automatic one.
    slices
        Which slices, as 10:30, 7 or ::5; the intensity scale is always that of the whole volume.
    csv
        Table to write, with all that was used for each score.
    json
        The same, as a list of objects.
    map_dir
        Folder for quality maps: NIfTI in the input's geometry.
    overlay_dir
        Folder for pictures, one a slice: the image, and the image under its map.
    device
        auto, cpu or cuda.
    batch_size
        Slices in memory at a time.
    force
        Replace files that exist.

    Returns
    -------
    0, or 1 if an input failed.
    """
    if not inputs:
        raise UsageError("no input given: mriqf score FILE…")
    chosen = parse_slices(slices)
    if batch_size < 1:
        raise UsageError(f"--batch-size is {batch_size}: give 1 or more")
    try:
        model = load_predictor(weights, choose_device(device))
        pool = scoring.choose_pool(pool, model)
        calibrated = attached(calibration, model, pool)
        cut = _cut_off(calibrated, limit)
        predictor = fast(model)
    except ValueError as error:
        raise UsageError(str(error)) from None
    for table in (csv, json):
        if table is not None and table.exists() and not force:
            raise FileExistsError(f"{table} exists: choose another name or pass --force")
    for folder in (map_dir, overlay_dir):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    job = _Job(predictor, weights, pool, calibrated, cut, mask, chosen, batch_size, map_dir, overlay_dir, force)
    rows: list[dict[str, Any]] = []
    failed = 0
    for source, name in zip(inputs, _output_names(inputs), strict=True):
        try:
            _score_input(job, source, name, rows)
        except (ValueError, OSError, ImportError) as error:
            failed += 1
            say(f"error: {error}" if source in str(error) else f"error: {source}: {error}")
    if csv is not None:
        with atomic_path(csv, force) as temporary:
            temporary.write_text(as_csv(rows), encoding="utf-8")
    if json is not None:
        with atomic_path(json, force) as temporary:
            temporary.write_text(as_json(rows), encoding="utf-8")
    return 1 if failed else 0


@dataclass(frozen=True)
class _Job:
    """What is the same for all inputs."""

    predictor: Predictor
    weights: str
    pool: str
    calibration: Calibration | None
    cut: CutOff | None
    mask: Path | None
    slices: slice
    batch_size: int
    map_dir: Path | None
    overlay_dir: Path | None
    force: bool


def _cut_off(calibration: Calibration | None, limit: float | None) -> CutOff | None:
    """None where nothing is known of a limit that nobody asked for."""
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


def _score_input(job: _Job, source: str, name: str, rows: list[dict[str, Any]]) -> None:
    """Score one input: print and append a row for each slice, write its map and pictures, say what all of it is."""
    volume = read(source)
    scoring.check_channels(volume.channels, job.predictor)
    mask = None if job.mask is None else scoring.mask_reader(read(job.mask), volume)
    indices = range(volume.n_slices)[job.slices]
    if not indices:
        raise ValueError(f"--slices selects none of its {volume.n_slices} slices: choose others")
    lattice = scoring.jpeg_trace(volume, indices)
    grid = lattice if job.predictor.reads_grid else None
    scale = scoring.own_scale(volume_scale(volume, grid), job.predictor)
    if lattice is not None:
        say(f"warning: {source}: pixels carry the lattice of JPEG quality {lattice.quality}; a study on such data "
             "is biased (doi:10.1073/pnas.2117203119)")  # fmt: skip

    map_path = None if job.map_dir is None else job.map_dir / f"{name}_quality.nii.gz"
    told: list[tuple[float, float, Expected | None]] = []

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
        for result in tqdm(found, name, len(indices), file=sys.stderr, disable=None, leave=False, unit="slice"):
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
            rows.append(row)
            told.append((result.score, result.foreground_fraction, result.expected))
            print(line(row, result.expected), flush=True)  # noqa: T201
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
    say(f"{source}: {summary(told, job.cut)}")


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


def _output_names(inputs: tuple[str, ...]) -> list[str]:
    """A file name for each input's outputs, all different."""
    names: list[str] = []
    for source in inputs:
        plain = stem = Path(source).name.split(".")[0] or "input"
        count = 1
        while plain in names:
            count += 1
            plain = f"{stem}-{count}"
        names.append(plain)
    return names
