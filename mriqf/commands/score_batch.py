"""`mriqf score --out DATASET`: score many volumes by several workers into a dataset; a later run continues it."""

import hashlib
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mriqf import __version__
from mriqf.batch import Dataset, scatter, state, workers
from mriqf.calibration import Calibration
from mriqf.calibration.file import attached, fingerprint
from mriqf.cli import OutputError, UsageError
from mriqf.commands.options import choose_device, no_interrupt_lost, parse_slices, say
from mriqf.commands.score_table import columns, complain, failed_row, jpeg_warning, volume_row
from mriqf.commands.score_volume import Job, choose_cut_off, map_file, overlay_file, plain_name, score_volume
from mriqf.io import Axis, find_inputs
from mriqf.io.bounds import named, words
from mriqf.predictors.base import Predictor, load_predictor
from mriqf.scoring.pooling import choose_pool
from mriqf.scoring.resolution import Resolution
from mriqf.scoring.scorer import Scorer
from mriqf.weights import find, names

KILLED = "every worker that scored it was killed: it may need more memory than they have"
_loading = threading.Lock()


@dataclass(frozen=True)
class Options:
    """Options as typed; for workers with absolute paths, since these may run in another folder."""

    weights: str
    pool: str
    calibration: str
    mask: str | None
    axis: Axis
    slices: str
    map_dir: str | None
    overlay_dir: str | None
    force_score: bool
    device: str
    batch_size: int
    resolution: Resolution = "own"
    flips: bool = False
    digest: str = ""
    """For workers: hash of weights, calibration and version at the start of the run."""
    calibrated: bool = False
    """For workers: True if rows have expected errors."""


@dataclass
class Archive:
    """Volumes of a run and their state."""

    dataset: Dataset
    options: Options
    calibrated: bool
    names: dict[str, str]
    """Path of each volume to its name, in order."""
    parts: dict[str, str] = field(default_factory=dict)
    """Path of each volume that exists to the name of its part, done or not."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Path of each volume that failed to the reason."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Skipped files to the reason."""
    failed: int = 0
    """Volumes that failed, and folders that could not be searched."""
    interrupted: bool = False
    """True if Ctrl-C ended the run early."""

    def fail(self, line: str) -> None:
        """Count a failure and print its message."""
        self.failed += 1
        say(f"error: {line}")

    def fail_volume(self, path: str, error: object) -> None:
        """Record, count and print the failure of a volume."""
        name = self.names[path]
        self.reasons[path] = complain(name, str(error).replace(path, name))
        self.fail(self.reasons[path])

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rows of all volumes, one part in memory at a time, as `mriqf score` would have listed them."""
        for path, name in self.names.items():
            part = self.parts.get(path)
            if part is not None and part in self.dataset:
                # An earlier run may have used another name.
                rows = [row | {"input": name} for row in self.dataset.rows(part)]
                yield from rows
                yield volume_row(rows)
            else:
                reason = self.reasons.get(path, "the run was interrupted")
                yield failed_row(name, reason, columns(self.calibrated))


def score_batch(
    inputs: Sequence[str],
    options: Options,
    out: Path,
    *,
    count: int,
    scheduler: str | None,
) -> Archive:
    """Score the volumes that a dataset lacks, until interrupted; prints a line for each volume that fails.

    Parameters
    ----------
    inputs
        Files and folders: `find_inputs`.
    options
        Options of scoring; those that change rows must be the same for all runs of a dataset.
    out
        Folder of the dataset.
    count, scheduler
        See `mriqf.batch.workers`.

    Raises
    ------
    OutputError
        If a part cannot be written; finished parts are kept.
    OSError
        If the cluster is gone; finished parts are kept.
    """
    try:
        if scheduler is None:
            choose_device(options.device)
        worker_options = for_workers(options)
    except ValueError as error:
        raise UsageError(str(error)) from None
    dataset = Dataset(out, _digest(worker_options.digest, _settings(options)))
    for folder in (options.map_dir, options.overlay_dir):
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
    archive = Archive(dataset, options, worker_options.calibrated, {})
    archive.names |= find_inputs(inputs, archive.fail, archive.skipped.__setitem__)
    complete = _Complete(options)
    todo: list[str] = []
    for path in archive.names:
        try:
            part = dataset.part(path)
        except (ValueError, OSError) as error:
            archive.fail_volume(path, named(error))
            continue
        archive.parts[path] = part
        if part not in dataset or not complete(path, dataset, part):
            todo.append(path)
    with ExitStack() as stack:
        total = len(archive.parts)
        bar = stack.enter_context(
            tqdm(total=total, initial=total - len(todo), file=sys.stderr, disable=None, unit="volume")
        )
        if not todo:
            return archive
        client = stack.enter_context(workers(count, scheduler))
        if not client.nthreads():
            say(f"warning: {scheduler} has no workers: waiting for the first")
        try:
            with no_interrupt_lost() as check:
                for path, rows in scatter(client, partial(score_path, worker_options), todo):
                    _keep(archive, path, rows)
                    bar.update()
                    check()
        except KeyboardInterrupt:
            done = sum(part in dataset for part in archive.parts.values())
            say(f"interrupted; {done} of {total} volumes are in {out}: the same command goes on from there")
            archive.interrupted = True
    return archive


def _keep(archive: Archive, path: str, rows: Any) -> None:
    """Write a worker's rows of a volume, or print why there are none."""
    dataset, part, name = archive.dataset, archive.parts[path], archive.names[path]
    if not isinstance(rows, list):
        dataset.forget(part)
        archive.fail_volume(path, rows if isinstance(rows, str) else KILLED)
        return
    # Only pictures were missing: keep the path of the map that an earlier run wrote.
    before = {"map": dataset.rows(part)[0]["map"]} if part in dataset and archive.options.map_dir is None else {}
    try:
        dataset.write(part, [_as_typed(row, name, archive.options) | before for row in rows])
    except UnicodeEncodeError:
        archive.fail_volume(path, "its name is not UTF-8: rename it")
    except OSError as error:
        raise OutputError(f"{dataset.folder}: {words(error)}; what is done is kept: run it again then") from None
    if rows[0]["jpeg_quality"] is not None:
        say(jpeg_warning(name, rows[0]["jpeg_quality"]))


class _Complete:
    """Tests that maps and pictures of a scored volume exist."""

    def __init__(self, options: Options):
        self._map_dir, self._overlay_dir = (
            None if folder is None else Path(folder) for folder in (options.map_dir, options.overlay_dir)
        )
        folders = [folder for folder in (self._map_dir, self._overlay_dir) if folder is not None]
        self._present = {file for folder in folders for file in folder.iterdir()}  # listed once: there may be a million

    def __call__(self, path: str, dataset: Dataset, part: str) -> bool:
        name, wanted = _output_name(path), []
        if self._map_dir is not None:
            wanted.append(map_file(self._map_dir, name))
            if dataset.rows(part)[0]["map"] != str(wanted[0]):
                return False
        if self._overlay_dir is not None:
            rows = dataset.rows(part)
            wanted += [overlay_file(self._overlay_dir, name, row["slice"], row["time"]) for row in rows]
        return self._present.issuperset(wanted)


def score_path(options: Options, path: str) -> list[dict[str, Any]] | str:
    """Rows of one volume, or a one-line error; the task of a worker."""
    job = _job(options)
    rows: list[dict[str, Any]] = []
    try:
        score_volume(job, path, _output_name(path), rows.append)
    except (ValueError, OSError, ImportError, OutputError) as error:
        return named(error)
    except Exception as error:  # one volume must not end the others
        return f"{type(error).__name__}: {error}"
    return rows


def _output_name(path: str) -> str:
    """Stem of the output files of a volume: unique, and independent of the other inputs."""
    return f"{plain_name(path)}-{_digest(path)}"


def _job(options: Options) -> Job:
    """Predictor and options, loaded once in each process."""
    with _loading:  # a cluster's workers may have several threads
        return _loaded(options)


@lru_cache(maxsize=1)
def _loaded(options: Options) -> Job:
    model, calibration, digest = _judge(options, choose_device(options.device))
    if digest != options.digest:
        raise ValueError(f"weights {options.weights}, their calibration or mriqf are not those of the run")
    mask, map_dir, overlay_dir = (
        None if path is None else Path(path) for path in (options.mask, options.map_dir, options.overlay_dir)
    )
    scorer = Scorer(
        model, pool=options.pool, calibration=calibration, resolution=options.resolution, flips=options.flips,
        batch_size=options.batch_size,
    )  # fmt: skip
    return Job(
        scorer,
        options.weights,
        choose_cut_off(calibration, None),
        mask,
        options.axis,
        parse_slices(options.slices),
        map_dir,
        overlay_dir,
        options.force_score,
        force=True,  # existing files are of an interrupted run
        quiet=True,
    )


def _judge(options: Options, device: str) -> tuple[Predictor, Calibration | None, str]:
    """Predictor, calibration, and a digest of both."""
    model = load_predictor(options.weights, device)
    pool = choose_pool(options.pool, model)
    calibration = attached(options.calibration, model, pool)
    return (
        model,
        calibration,
        _digest(__version__, model.unit, fingerprint(model), pool, calibration and asdict(calibration)),
    )


def for_workers(options: Options) -> Options:
    """Options for workers, which may run in another folder or on another machine: absolute paths and a digest."""

    def absolute(path: str | None) -> str | None:
        return None if path is None else str(Path(path).absolute())

    worker_options = replace(
        options,
        weights=options.weights if options.weights in names() else str(find(options.weights).absolute()),
        calibration=options.calibration if options.calibration in ("auto", "none") else absolute(options.calibration),
        mask=absolute(options.mask),
        map_dir=absolute(options.map_dir),
        overlay_dir=absolute(options.overlay_dir),
    )
    model, calibration, digest = _judge(worker_options, "cpu")
    pool = choose_pool(options.pool, model)
    return replace(worker_options, pool=pool, digest=digest, calibrated=calibration is not None)


def _settings(options: Options) -> list[Any]:
    """Remaining settings that change scores; maps and pictures can be added later."""
    mask = None if options.mask is None else [options.mask, state(options.mask)]
    slices = str(parse_slices(options.slices))
    return [options.weights, mask, options.axis, slices, options.force_score, options.resolution, options.flips]


def _as_typed(row: dict[str, Any], name: str, options: Options) -> dict[str, Any]:
    """A worker's row with names and paths as the user typed them."""
    typed: dict[str, Any] = {"input": name, "weights": options.weights}
    if options.mask is not None:
        typed["foreground"] = options.mask
    if options.map_dir is not None:
        typed["map"] = str(Path(options.map_dir, Path(row["map"]).name))
    return row | typed


def _digest(*things: Any) -> str:
    return hashlib.sha256(json.dumps(things, sort_keys=True).encode()).hexdigest()[:16]
