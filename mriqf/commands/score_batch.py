"""`mriqf score --out DATASET`: many volumes by several workers, into a dataset that a later run goes on with."""

import hashlib
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mriqf import __version__
from mriqf.batch import Dataset, find_inputs, scatter, state, workers
from mriqf.calibration import Calibration
from mriqf.calibration_file import attached, fingerprint
from mriqf.cli import UsageError
from mriqf.commands.options import choose_device, parse_slices, say
from mriqf.commands.score_table import complain, jpeg_warning
from mriqf.commands.score_volume import Job, plain_name, score_volume
from mriqf.inference import Predictor, fast
from mriqf.scoring import choose_pool
from mriqf.weights import find, load_predictor, names

KILLED = "every worker that scored it was killed: it may need more memory than they have"
_loading = threading.Lock()


@dataclass(frozen=True)
class Options:
    """How volumes are scored, as it was typed; for workers, with absolute paths, since they may run elsewhere."""

    weights: str
    pool: str
    calibration: str
    mask: str | None
    slices: str
    map_dir: str | None
    overlay_dir: str | None
    device: str
    batch_size: int
    digest: str = ""
    """For workers: of what weights, calibration and version were when the run began."""


def score_batch(
    inputs: Sequence[str],
    options: Options,
    out: Path,
    *,
    count: int,
    scheduler: str | None,
) -> tuple[Dataset, dict[str, str], int]:
    """Score what a dataset has not yet; a line on standard error for each volume that fails.

    Parameters
    ----------
    inputs
        Files and folders: `find_inputs`.
    options
        Those that change rows are one and the same for all of a dataset.
    out
        Folder of the dataset.
    count, scheduler
        See `mriqf.batch.workers`.

    Returns
    -------
    Dataset
        With what is done.
    dict
        Names of parts, done or not, to the names of volumes, in order.
    int
        How many volumes failed.

    Raises
    ------
    OSError
        If a part cannot be written, or the cluster is gone. What is done stays.
    """
    try:
        if scheduler is None:
            choose_device(options.device)
        there = for_workers(options)
    except ValueError as error:
        raise UsageError(str(error)) from None
    dataset = Dataset(out, _digest(there.digest, _settings(options)))
    for folder in (options.map_dir, options.overlay_dir):
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
    failures: list[str] = []

    def fail(line: str) -> None:
        failures.append(line)
        say(f"error: {line}")

    parts: dict[str, str] = {}
    todo: dict[str, str] = {}
    found = find_inputs(inputs, fail)
    for path, name in found.items():
        try:
            part = dataset.part(path)
        except (ValueError, OSError) as error:
            fail(complain(name, error))
            continue
        parts[part] = name
        if part not in dataset:
            todo[path] = part
    with ExitStack() as stack:
        bar = stack.enter_context(
            tqdm(total=len(parts), initial=len(parts) - len(todo), file=sys.stderr, disable=None, unit="volume")
        )
        if not todo:
            return dataset, parts, len(failures)
        client = stack.enter_context(workers(count, scheduler))
        if not client.nthreads():
            say(f"warning: {scheduler} has no workers: waiting for the first")
        for path, rows in scatter(client, partial(score_path, there), todo):
            part, name = todo[path], found[path]
            if isinstance(rows, list):
                try:
                    dataset.write(part, [_as_typed(row, name, options) for row in rows])
                except UnicodeEncodeError:
                    fail(f"{name}: its name is not UTF-8: rename it")
                except OSError as error:
                    cause = error.strerror or error
                    raise OSError(f"{out}: {cause}: what is done is kept; make room and run it again") from None
                if rows[0]["jpeg_quality"] is not None:
                    say(jpeg_warning(name, rows[0]["jpeg_quality"]))
            else:
                dataset.forget(part)
                fail(complain(name, rows if isinstance(rows, str) else KILLED))
            bar.update()
    return dataset, parts, len(failures)


def rows_in_order(dataset: Dataset, parts: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Rows of the volumes that are done, one part in memory at a time, as `mriqf score` would have listed them."""
    for part, name in parts.items():
        if part in dataset:
            for row in dataset.rows(part):
                yield row | {"input": name}  # by another name, perhaps, when it was scored


def score_path(options: Options, path: str) -> list[dict[str, Any]] | str:
    """Rows of one volume, or in one line why there are none; this is what workers do."""
    job = _job(options)
    rows: list[dict[str, Any]] = []
    name = f"{plain_name(path)}-{_digest(path)}"  # no two are the same, and none depends on the other inputs
    try:
        score_volume(job, path, name, lambda row, _: rows.append(row))
    except (ValueError, OSError, ImportError) as error:
        return str(error)
    except Exception as error:  # one volume must not end the others
        return f"{type(error).__name__}: {error}"
    return rows


def _job(options: Options) -> Job:
    """What one process loads once."""
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
    return Job(
        fast(model),
        options.weights,
        options.pool,
        calibration,
        mask,
        parse_slices(options.slices),
        options.batch_size,
        map_dir,
        overlay_dir,
        force=True,  # what is there is of a run that was cut off
        quiet=True,
    )


def _judge(options: Options, device: str) -> tuple[Predictor, Calibration | None, str]:
    """Predictor, calibration, and a digest of both."""
    model = load_predictor(options.weights, device)
    pool = choose_pool(options.pool, model)
    calibration = attached(options.calibration, model, pool)
    return model, calibration, _digest(__version__, fingerprint(model), pool, calibration and asdict(calibration))


def for_workers(options: Options) -> Options:
    """The same for workers, who may have been started in another folder, or on another machine."""

    def absolute(path: str | None) -> str | None:
        return None if path is None else str(Path(path).absolute())

    there = replace(
        options,
        weights=options.weights if options.weights in names() else str(find(options.weights).absolute()),
        calibration=options.calibration if options.calibration in ("auto", "none") else absolute(options.calibration),
        mask=absolute(options.mask),
        map_dir=absolute(options.map_dir),
        overlay_dir=absolute(options.overlay_dir),
    )
    model, _, digest = _judge(there, "cpu")
    return replace(there, pool=choose_pool(options.pool, model), digest=digest)


def _settings(options: Options) -> list[Any]:
    """What else a row says or depends on."""
    mask = None if options.mask is None else [options.mask, state(options.mask)]
    return [options.weights, mask, str(parse_slices(options.slices)), options.map_dir, options.overlay_dir]


def _as_typed(row: dict[str, Any], name: str, options: Options) -> dict[str, Any]:
    """A worker's row with the names that the user gave to things."""
    typed: dict[str, Any] = {"input": name, "weights": options.weights}
    if options.mask is not None:
        typed["foreground"] = options.mask
    if options.map_dir is not None:
        typed["map"] = str(Path(options.map_dir, Path(row["map"]).name))
    return row | typed


def _digest(*things: Any) -> str:
    return hashlib.sha256(json.dumps(things, sort_keys=True).encode()).hexdigest()[:16]
