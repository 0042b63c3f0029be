"""`mriqf score`: one line a slice on standard output; tables, maps and pictures on request."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mriqf import scoring
from mriqf.calibration import LIMIT, Calibration, CutOff, Expected
from mriqf.calibration_file import attached
from mriqf.cli import UsageError
from mriqf.commands.options import choose_device, parse_slices, say
from mriqf.commands.score_batch import Options, rows_in_order, score_batch
from mriqf.commands.score_table import as_json, complain, jpeg_warning, line, summary, write_csv
from mriqf.commands.score_volume import Job, plain_name, score_volume
from mriqf.inference import fast
from mriqf.io import atomic_path
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
    out: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
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
    out
        Folder of a Parquet dataset, for many volumes: folders are searched, and each volume that is done is kept at
        once. The same command goes on where it was cut off, scores what has changed since, and tries again what
        failed. Nothing is printed but, tab-separated, at the end: the dataset, how many volumes were found, how many
        of them are in it, how many failed.
    workers
        Processes that score for --out, one volume at a time each; 1 if not given.
    scheduler
        Address of a Dask cluster that scores for --out instead, such as tcp://host:8786. It needs mriqf, and sees the
        files by the same paths.
    map_dir
        Folder for quality maps: NIfTI in the input's geometry.
    overlay_dir
        Folder for pictures, one a slice: the image, and the image under its map.
    device
        auto, cpu or cuda.
    batch_size
        Slices of one size that a GPU scores at once; scores then move by rounding. A processor scores one at a time.
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
    if workers is not None and workers < 1:
        raise UsageError(f"--workers is {workers}: give 1 or more")
    if out is None and (workers is not None or scheduler is not None):
        raise UsageError("--workers and --scheduler need a folder for the scores: --out DATASET")
    if workers is not None and scheduler is not None:
        raise UsageError("--workers and --scheduler exclude each other: give one of them")
    if out is not None and limit is not None:
        raise UsageError("--limit goes with scores that are printed, --out prints none: leave one of them out")
    for table in (csv, json):
        if table is not None and table.exists() and not force:
            raise FileExistsError(f"{table} exists: choose another name or pass --force")
    if out is not None:
        options = Options(
            weights, pool, calibration, _text(mask), slices, _text(map_dir), _text(overlay_dir), device, batch_size
        )
        dataset, parts, failed = score_batch(inputs, options, out, count=workers or 1, scheduler=scheduler)
        _write_tables(partial(rows_in_order, dataset, parts), csv, json, force)
        print(out, len(parts), sum(part in dataset for part in parts), failed, sep="\t")  # noqa: T201
        return 1 if failed else 0
    try:
        model = load_predictor(weights, choose_device(device))
        pool = scoring.choose_pool(pool, model)
        calibrated = attached(calibration, model, pool)
        cut = _cut_off(calibrated, limit)
        predictor = fast(model)
    except ValueError as error:
        raise UsageError(str(error)) from None
    for folder in (map_dir, overlay_dir):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    job = Job(predictor, weights, pool, calibrated, mask, chosen, batch_size, map_dir, overlay_dir, force)
    rows: list[dict[str, Any]] = []
    failed = 0
    for source, name in zip(inputs, _output_names(inputs), strict=True):
        try:
            _score_input(job, cut, source, name, rows)
        except (ValueError, OSError, ImportError) as error:
            failed += 1
            say(f"error: {complain(source, error)}")
    _write_tables(lambda: rows, csv, json, force)
    return 1 if failed else 0


def _write_tables(
    rows: Callable[[], Iterable[dict[str, Any]]], csv: Path | None, json: Path | None, force: bool
) -> None:
    if csv is not None:
        with (
            atomic_path(csv, force) as temporary,
            temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as text,  # names of any bytes
        ):
            write_csv(rows(), text)
    if json is not None:
        with atomic_path(json, force) as temporary:
            temporary.write_text(as_json(list(rows())), encoding="utf-8")


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


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


def _score_input(job: Job, cut: CutOff | None, source: str, name: str, rows: list[dict[str, Any]]) -> None:
    """Score one input: print and append a row for each slice, say what all of it is."""
    told: list[tuple[float, float, Expected | None]] = []

    def tell(row: dict[str, Any], expected: Expected | None) -> None:
        if not told and row["jpeg_quality"] is not None:
            say(jpeg_warning(source, row["jpeg_quality"]))
        rows.append(row)
        told.append((row["score"], row["foreground_fraction"], expected))
        print(line(row, expected), flush=True)  # noqa: T201

    score_volume(job, source, name, tell)
    say(f"{source}: {summary(told, cut)}")


def _output_names(inputs: Sequence[str]) -> list[str]:
    """A file name for each input's outputs, all different."""
    names: list[str] = []
    for source in inputs:
        plain = stem = plain_name(source)
        count = 1
        while plain in names:
            count += 1
            plain = f"{stem}-{count}"
        names.append(plain)
    return names
