"""`mriqf score`: score images; a row per slice, then a row per volume; tables, maps and pictures on request."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mriqf.cli import UsageError
from mriqf.commands.options import choose_device, no_interrupt_lost, parse_slices, say
from mriqf.commands.score_batch import Archive, Options, score_batch
from mriqf.commands.score_table import (
    SliceTable,
    columns,
    complain,
    cut_off,
    failed_row,
    jpeg_warning,
    legend,
    print_volumes,
    summary,
    volume_row,
)
from mriqf.commands.score_volume import Job, choose_cut_off, output_names, score_volume
from mriqf.commands.table import Column, Table, show
from mriqf.commands.table_file import TableFile, check_targets, tables
from mriqf.io import Axis, find_inputs
from mriqf.io.bounds import named
from mriqf.io.discovery import passed_over
from mriqf.scoring.resolution import Resolution
from mriqf.scoring.scorer import Scorer


def score(
    *inputs: str,
    weights: str = "qf-mri",
    pool: str = "auto",
    calibration: str = "auto",
    limit: float | None = None,
    resolution: Resolution = "own",
    flips: bool = False,
    mask: Path | None = None,
    axis: Axis = "slice",
    slices: str = ":",
    csv: Path | None = None,
    json: Path | None = None,
    out: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    map_dir: Path | None = None,
    overlay_dir: Path | None = None,
    header: bool = False,
    force_score: bool = False,
    device: str = "auto",
    batch_size: int = 8,
    force: bool = False,
) -> int:
    """Score images that have no reference.

    Prints a row a slice: the NRMSE to expect with its interval, where there is a calibration; the score, 0–100, higher
    is better; the share of the slice that is object. The score of qf-mri is 100 − 20·log2(NRMSE / 1 %): 100 at 1 % or
    less, 20 points less for each doubling, 0 at 32 %; that of qf-gray and qf-rgb is JPEG quality. An image of a kind
    that the calibration does not know gets a reason instead of a score. It cannot tell whether a learned reconstruction
    made an image, nor what that has invented or lost: where there is k-space, use mriqf check (--image for an image
    made elsewhere). A terminal shows a row a volume at the end, too. To programs, fields are separated by tabs: input,
    slice, time, nrmse, nrmse_low, nrmse_high, score, unit, resolved, foreground_fraction, pool, weights, remark.

    Parameters
    ----------
    inputs
        Files in fastMRI HDF5, ISMRMRD, NIfTI, DICOM, BART, NumPy, PNG, JPEG, TIFF or WebP, and folders of them, which
        are searched recursively. DICOM files of one series in one folder are one volume. Files that are no images
        are named at the end.
    weights
        Name or path of trained weights: qf-mri for MR images, qf-rgb for photographs, qf-gray for JPEG qualities.
    pool
        Pooling of the map: rms (of errors), foreground, mean, center, or minkowski:p; auto: the weights' own.
    calibration
        File by `mriqf calibrate`, or none; auto: that beside the weights, if there is one.
    limit
        NRMSE that the cut-off is for, 0.10 if not given: few images with less score below it.
    resolution
        For predictors of errors, which see images with an empty rim of k-space (interpolated, or truncated) at their
        own resolution, and report it: own counts the detail that lacks for nothing, as-is counts it as error.
    flips
        Average over the eight orientations of each slice: four times the work, and mirrors score alike.
    mask
        File with your own foreground (not zero), of the size of each input, instead of the automatic one.
    axis
        Across which axis volumes are cut: slice (as they are stored), row or column; or in which plane slices shall
        lie: axial, coronal or sagittal.
    slices
        Which slices, as 10:30, 7 or ::5, of each time; the intensity scale is always that of the whole volume.
    csv
        Table to write, with all that was used for each score. It grows as slices are scored; behind those of each
        volume stands a row of the volume, whose slice is empty.
    json
        The same, as a list of objects.
    out
        Folder of a Parquet dataset, for many volumes: each volume that is done is kept at once. The same command goes
        on where it was cut off, scores what has changed since, and tries again what failed; with --map-dir or
        --overlay-dir it adds those that are missing. Nothing is printed but, at the end: the dataset, how many volumes
        were found, how many of them are in it, how many failed.
    workers
        Processes that score for --out, one volume at a time each; 1 if not given.
    scheduler
        Address of a Dask cluster that scores for --out instead, such as tcp://host:8786. It needs mriqf, and sees the
        files by the same paths.
    map_dir
        Folder for quality maps: NIfTI in the input's geometry.
    overlay_dir
        Folder for pictures, one a slice: the image, and the image under its map.
    header
        Begin the tab-separated rows with a line of names.
    force_score
        Give images a score that the calibration does not know, too: it says nothing certain.
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
    _check_options(batch_size, workers, scheduler, out, limit)
    check_targets(csv, json, force=force)
    if out is not None:
        options = Options(
            weights, pool, calibration, _text(mask), axis, slices, _text(map_dir), _text(overlay_dir), force_score,
            device, batch_size, resolution, flips,
        )  # fmt: skip
        archive = score_batch(inputs, options, out, count=workers or 1, scheduler=scheduler)
        return _conclude_archive(archive, csv, json, header=header, force=force)
    try:
        scorer = Scorer(
            weights, pool=pool, calibration=calibration, resolution=resolution, flips=flips, batch_size=batch_size,
            device=choose_device(device),
        )  # fmt: skip
        cut = choose_cut_off(scorer.calibration, limit)
    except ValueError as error:
        raise UsageError(str(error)) from None
    for folder in (map_dir, overlay_dir):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    skipped: dict[str, str] = {}
    problems: list[str] = []
    sources = list(find_inputs(inputs, problems.append, skipped.__setitem__).values())
    job = Job(scorer, weights, cut, mask, axis, chosen, map_dir, overlay_dir, force_score, force)
    with tables(csv, json, columns(scorer.calibration is not None), force=force) as files:
        run = _Run(job, SliceTable(sources, scorer.calibration, header=header), files)
        try:
            for problem in problems:
                run.fail(problem)
            with no_interrupt_lost() as check:
                for source, name in zip(sources, output_names(sources), strict=True):
                    run.score(source, name, check)
        except KeyboardInterrupt:
            say("interrupted" + "".join(f"; {file.count} rows are in {file.path}" for file in files))
            run.end(skipped)
            raise
        run.end(skipped)
    return 1 if run.failures else 0


def _check_options(
    batch_size: int, workers: int | None, scheduler: str | None, out: Path | None, limit: float | None
) -> None:
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


class _Run:
    """Scores volumes one by one and prints a summary at the end."""

    def __init__(self, job: Job, table: SliceTable, files: Sequence[TableFile]):
        self.job = job
        self.failures: list[str] = []
        self._table, self._files = table, files
        self._volumes: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
        self._scored = False

    def score(self, source: str, name: str, check: Callable[[], None]) -> None:
        """Score one input: print and store a row for each slice and one for the volume; `check` may interrupt it."""
        rows: list[dict[str, Any]] = []

        def tell(row: dict[str, Any]) -> None:
            if not rows and row["jpeg_quality"] is not None:
                say(jpeg_warning(source, row["jpeg_quality"]))
            rows.append(row)
            self._keep(row)
            self._table.print(row)
            check()

        try:
            score_volume(self.job, source, name, tell)
        except (ValueError, OSError, ImportError) as error:
            reason = complain(source, named(error))
            self._keep(failed_row(source, reason, columns(self.job.scorer.calibration is not None)))
            self.fail(reason, source)
            return
        whole = volume_row(rows)
        self._keep(whole)
        if self._table.aligned:
            self._volumes.append((whole, rows))
        else:
            self._scored = True
            say(f"{source}: {summary(whole, rows)}")

    def fail(self, reason: str, source: str | None = None) -> None:
        """Report an input without a score: on a terminal as a row, and again at the end."""
        self.failures.append(reason)
        if not self._table.aligned:
            say(f"error: {reason}")
        elif source is not None:
            self._table.print_failure(source, reason)

    def end(self, skipped: dict[str, str]) -> None:
        """Print the rows of the volumes, the legend, and the inputs that were not scored."""
        if self._table.aligned:
            if self._volumes:
                show("")
                print_volumes(self._volumes, self.job.scorer.calibration)
                for line in legend(self.job.scorer.predictor.unit, self.job.scorer.calibration, self.job.cut):
                    show(line)
            for line in self.failures:
                say(f"not scored: {line}")
        elif self.job.cut is not None and self._scored:
            say(cut_off(self.job.cut))
        for line in passed_over(skipped):
            say(f"skipped: {line}")

    def _keep(self, row: dict[str, Any]) -> None:
        for file in self._files:
            file.write(row)


def _conclude_archive(archive: Archive, csv: Path | None, json: Path | None, *, header: bool, force: bool) -> int:
    """Write the tables of an archive and print its progress; returns the exit status."""
    with tables(csv, json, columns(archive.calibrated), force=force) as files:
        for row in archive.rows():
            for file in files:
                file.write(row)
    if archive.interrupted:
        raise KeyboardInterrupt
    _print_archive(archive, header)
    return 1 if archive.failed else 0


def _print_archive(archive: Archive, header: bool) -> None:
    """Print one row with the progress of an archive."""
    fields = ("dataset", "volumes", "done", "failed")
    counted = [Column(field, "", 8, lambda row, field=field: str(row[field])) for field in fields[1:]]
    out, done = str(archive.dataset.folder), sum(part in archive.dataset for part in archive.parts.values())
    Table(fields, counted, [out], "dataset", header=header).row(
        {"dataset": out, "volumes": len(archive.names), "done": done, "failed": archive.failed}
    )
    for line in passed_over(archive.skipped):
        say(f"skipped: {line}")


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
