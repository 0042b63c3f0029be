"""The level `participant`: scores, maps and records of scans, and a page for each participant."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mriqf import __version__
from mriqf.batch import scatter, state, workers
from mriqf.bids.derivatives import (
    WORK,
    derived,
    digest,
    read_record,
    records,
    scores,
    write_json,
    write_record,
    write_text,
)
from mriqf.bids.pages import make_page
from mriqf.bids.tree import Scan
from mriqf.commands.options import no_interrupt_lost, say
from mriqf.commands.score_batch import KILLED, Options, for_workers, score_path
from mriqf.commands.score_table import volume_row
from mriqf.io import ReadError
from mriqf.io.bounds import named

PICTURES = 12  # per scan on the participant's page


@dataclass
class Outcome:
    """Result of a run: numbers of scans by their state."""

    total: int
    kept: int = 0
    """Number of scans scored by an earlier run."""
    scored: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Relative path of each scan without a score to the reason."""
    interrupted: bool = False


def score_scans(root: Path, out: Path, scans: Sequence[Scan], options: Options, *, count: int = 1) -> Outcome:
    """Score the scans of a dataset that have no up-to-date record.

    A scan is done when its record is there, which is written after its map. It is scored again when the file, the
    weights, the options or the version have changed, and when it failed before.

    Parameters
    ----------
    root, out
        Roots of the dataset and of its derivatives.
    scans
        Scans of `find_scans`.
    options
        Options of scoring; the folder of maps is set here.
    count
        Number of processes; 1 scores in this one.
    """
    (out / WORK).mkdir(exist_ok=True)
    worker_options = for_workers(replace(options, map_dir=str(out / WORK)))
    settings = digest(worker_options.digest, worker_options.weights, worker_options.pool, worker_options.force_score)
    outcome = Outcome(len(scans))
    todo: dict[str, tuple[Scan, dict[str, str]]] = {}
    changed: set[str] = set()
    for scan in scans:
        try:
            if scan.path.is_symlink() and not scan.path.exists():
                raise ReadError(f"{scan.relative}: its content is not here: fetch it, e.g. by datalad get")
            provenance = {"version": __version__, "settings": settings, "state": state(str(scan.path))[:16]}
        except (ValueError, OSError) as error:
            _fail(outcome, out, scan, {"version": __version__, "settings": settings}, named(error))
            changed.add(scan.entities["sub"])
            continue
        if _done(out, scan, provenance):
            outcome.kept += 1
        else:
            todo[str(scan.path.absolute())] = scan, provenance
    with ExitStack() as stack:
        bar = stack.enter_context(
            tqdm(total=len(scans), initial=len(scans) - len(todo), file=sys.stderr, disable=None, unit="scan")
        )
        try:
            check = stack.enter_context(no_interrupt_lost())
            for path, result in _results(worker_options, todo, count, stack):
                scan, provenance = todo[path]
                changed.add(scan.entities["sub"])
                if isinstance(result, list):
                    _keep(out, scan, provenance, result)
                    outcome.scored += 1
                else:
                    reason = result if isinstance(result, str) else KILLED
                    _fail(outcome, out, scan, provenance, reason.replace(path, scan.relative))
                bar.update()
                check()
        except KeyboardInterrupt:
            done = outcome.kept + outcome.scored
            say(f"interrupted; {done} of {len(scans)} scans are in {out}: the same command goes on from there")
            outcome.interrupted = True
    with suppress(OSError):
        (out / WORK).rmdir()  # another run may still use it
    if not outcome.interrupted:
        _pages(root, out, scans, changed)
    return outcome


def _results(options: Options, todo: Iterable[str], count: int, stack: ExitStack) -> Iterator[tuple[str, Any]]:
    """Path of each scan with its rows, or with the reason why there are none."""
    if count == 1:
        return ((path, score_path(options, path)) for path in todo)
    return scatter(stack.enter_context(workers(count)), partial(score_path, options), todo)


def _done(out: Path, scan: Scan, provenance: dict[str, str]) -> bool:
    try:
        record = read_record(out / derived(scan, "quality", ".json"))
    except (ValueError, OSError):
        return False
    recorded = {key: record["provenance"].get(key) for key in provenance}
    return recorded == provenance and "not_scored" not in record and (out / _map(scan)).exists()


def _keep(out: Path, scan: Scan, provenance: dict[str, str], rows: list[dict[str, Any]]) -> None:
    path = out / _map(scan)
    path.parent.mkdir(parents=True, exist_ok=True)
    Path(rows[0]["map"]).replace(path)
    write_json(
        path.with_name(path.name.removesuffix(".nii.gz") + ".json"),
        {
            "Description": f"Quality of each pixel, estimated from the image: {rows[0].get('unit') or '0 to 100'}",
            "Sources": [f"bids:source:{scan.relative}"],
        },
    )
    write_record(out / derived(scan, "quality", ".json"), scan, provenance, scores(volume_row(rows), rows))


def _fail(outcome: Outcome, out: Path, scan: Scan, provenance: dict[str, str], reason: str) -> None:
    line = reason if scan.relative in reason else f"{scan.relative}: {reason}"
    outcome.failed[scan.relative] = line
    path = out / derived(scan, "quality", ".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_record(path, scan, provenance, {"not_scored": line.removeprefix(f"{scan.relative}: ")})
    for ending in (".nii.gz", ".json"):  # files of an earlier state of the scan
        (out / derived(scan, "map", ending, "quality")).unlink(missing_ok=True)


def _pages(root: Path, out: Path, scans: Sequence[Scan], changed: set[str]) -> None:
    """Write the pages of participants with new results or without a page, each with all scored scans."""
    subjects = sorted({scan.entities["sub"] for scan in scans})
    wanted = [s for s in subjects if s in changed or not (out / f"sub-{s}.html").exists()]
    for subject in tqdm(wanted, "pages", file=sys.stderr, disable=None, leave=False, unit="page"):
        text = make_page(root, out, records(out, f"sub-{subject}"), PICTURES)
        if text is not None:
            write_text(out / f"sub-{subject}.html", text)


def _map(scan: Scan) -> Path:
    return derived(scan, "map", ".nii.gz", "quality")
