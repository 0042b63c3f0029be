"""`mriqf report`: what `mriqf score` found, as one page to look at."""

import sys
from pathlib import Path

from tqdm import tqdm

from mriqf.cli import UsageError
from mriqf.commands.options import say
from mriqf.commands.score_table import complain
from mriqf.commands.table import show
from mriqf.commands.table_file import writing
from mriqf.html import Picture, ScoredVolume, draw, page, read_tables
from mriqf.io import atomic_path


def report(*scores: Path, out: Path, pictures: int = 12, force: bool = False) -> int:
    """Show scores on one page: table, distribution, the worst first, slices under their quality maps, ratings.

    Works without a network, and carries its pictures in itself: at most 150 kB a volume. Of the patient it shows what
    the pixels and the names of files tell, and nothing else. Prints one tab-separated line: the page, volumes, how
    many of them have pictures, size in MB.

    Parameters
    ----------
    scores
        Tables that `mriqf score` wrote by --csv, --json or --out. The inputs and maps (--map-dir) that they name are
        read again; a volume that is not there any more has a row, but no pictures.
    out
        Page to write, such as report.html.
    pictures
        Slices shown of each volume, at most: the worst, and others evenly spaced.
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
    if out.exists() and any(table.exists() and out.samefile(table) for table in scores):
        raise UsageError(f"{out} is a table to read: choose another name for the page")
    with writing(out), atomic_path(out, force) as temporary:
        volumes, unscored = read_tables(scores)
        listed = tqdm(volumes, "report", file=sys.stderr, disable=None, leave=False, unit="volume")
        drawn = [_drawn(volume, pictures) for volume in listed]
        text = page(volumes, drawn, unscored, tables=scores, folder=out.absolute().parent)
        size = temporary.write_bytes(text.encode())
    show("\t".join((str(out), str(len(volumes)), str(sum(bool(shown) for shown, _ in drawn)), f"{size / 1e6:.2f}")))
    return 0


def _drawn(volume: ScoredVolume, count: int) -> tuple[list[Picture], str]:
    """Pictures, or the reason why there are none."""
    try:
        return draw(volume, count)
    except (ValueError, OSError, ImportError) as error:
        cause = complain(volume.name, error)
        say(f"warning: no pictures: {cause}")
        return [], cause
