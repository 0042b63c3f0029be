"""`mriqf report`: the scores of `mriqf score` as one HTML page."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from mriqf.cli import UsageError
from mriqf.commands.options import say
from mriqf.commands.score_table import complain
from mriqf.commands.table import show
from mriqf.commands.table_file import writing
from mriqf.html import (
    PairedVolume,
    Picture,
    ScoredSlice,
    ScoredVolume,
    compare,
    draw,
    most_changed,
    page,
    read_pairs,
    read_tables,
)
from mriqf.io import atomic_path


def report(
    *scores: Path,
    out: Path,
    pictures: int = 12,
    by: Sequence[str] = (),
    labels: tuple[str, str] | None = None,
    force: bool = False,
) -> int:
    """Write scores as one HTML page: table, worst first; distribution; slices with quality maps; ratings.

    The page needs no network and contains its pictures: at most 150 kB a volume. If the tables have columns
    of dates, scanners or sites, it shows the scores over time and by group. It shows no patient data beyond the pixels,
    the names of files and these columns. Prints one tab-separated line: the page, volumes, how
    many of them have pictures, size in MB.

    Parameters
    ----------
    scores
        Tables that `mriqf score` wrote by --csv, --json or --out. The inputs and maps (--map-dir) that they name are
        read again; a volume whose files are missing has a row, but no pictures.
    out
        Page to write, such as report.html.
    pictures
        Maximum number of slices shown of each volume: the worst, and others evenly spaced; in a comparison, those that
        changed most, over all volumes.
    by
        Columns of the tables to group the scores by, beside those that are known by their names.
    labels
        Names of two reconstructions: compare two tables of the same scans, one of each. Scans are matched
        by their paths relative to the folder that all inputs of a table share; the page shows the mean change
        with its interval, and the slices that changed most.
    force
        Replace a page that exists.

    Returns
    -------
    0, also where pictures are missing.
    """
    if not scores:
        raise UsageError("no table given: mriqf report SCORES.csv… --out report.html")
    if pictures < 0:
        raise UsageError(f"--pictures is {pictures}: give 0 or more")
    if labels is not None and by:
        raise UsageError("--by is of one report, and --labels compares two tables: leave one of them out")
    if labels is not None and (len(scores) != 2 or labels[0] == labels[1]):
        raise UsageError(
            "--labels compares two tables: mriqf report A.csv B.csv --labels before after --out report.html"
        )
    if out.exists() and any(table.exists() and out.samefile(table) for table in scores):
        raise UsageError(f"{out} is a table to read: choose another name for the page")
    if labels is not None:
        return _compare((scores[0], scores[1]), labels, out, pictures, force)
    with writing(out), atomic_path(out, force) as temporary:
        volumes, unscored = read_tables(scores, by)
        listed = tqdm(volumes, "report", file=sys.stderr, disable=None, leave=False, unit="volume")
        drawn = [_drawn(volume, pictures) for volume in listed]
        text = page(volumes, drawn, unscored, tables=scores, folder=out.absolute().parent, by=by)
        size = temporary.write_bytes(text.encode())
    show("\t".join((str(out), str(len(volumes)), str(sum(bool(shown) for shown, _ in drawn)), f"{size / 1e6:.2f}")))
    return 0


def _compare(tables: tuple[Path, Path], labels: tuple[str, str], out: Path, count: int, force: bool) -> int:
    """Write the page of a comparison."""
    with writing(out), atomic_path(out, force) as temporary:
        pairs, apart = read_pairs(tables, labels)
        shown = _pair_pictures(pairs, count)
        text = compare(pairs, shown, labels, apart, tables=tables, folder=out.absolute().parent)
        size = temporary.write_bytes(text.encode())
    pictured = len({volume for volume, _ in shown})
    show("\t".join((str(out), str(len(pairs)), str(pictured), f"{size / 1e6:.2f}")))
    return 0


def _pair_pictures(pairs: Sequence[PairedVolume], count: int) -> dict[tuple[int, int], tuple[Picture, Picture]]:
    """Pictures of the slices that changed most, by indices of volume and slice."""
    wanted: dict[int, list[int]] = {}
    for volume, place in most_changed(pairs, count):
        wanted.setdefault(volume, []).append(place)
    pictures: dict[tuple[int, int], tuple[Picture, Picture]] = {}
    for volume, places in wanted.items():
        pair = pairs[volume]
        both = [
            _drawn(side, len(places), [pair.slices[place][k] for place in places])[0]
            for k, side in enumerate((pair.before, pair.after))
        ]
        if all(both):
            pictures |= {(volume, place): (a, b) for place, a, b in zip(places, *both, strict=True)}
    return pictures


def _drawn(volume: ScoredVolume, count: int, chosen: Sequence[ScoredSlice] | None = None) -> tuple[list[Picture], str]:
    """Pictures, or the reason why there are none."""
    try:
        return draw(volume, count, chosen)
    except (ValueError, OSError, ImportError) as error:
        cause = complain(volume.name, error)
        say(f"warning: no pictures: {cause}")
        return [], cause
