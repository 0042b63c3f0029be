"""`mriqf-bids`, called as BIDS Apps are: Gorgolewski et al. 2017, doi:10.1371/journal.pcbi.1005209."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cyclopts import App, Parameter

from mriqf import __version__
from mriqf.cli import UsageError
from mriqf.cli import main as run_app

app = App(
    name="mriqf-bids",
    help="Score the scans of a BIDS dataset, and write maps, numbers and pages as its derivatives.",
    version=__version__,
    result_action="return_value",
    default_parameter=Parameter(consume_multiple=True, negative=()),
)


@app.default
def score_dataset(
    bids_dir: Path,
    output_dir: Path,
    analysis_level: Literal["participant", "group"],
    /,
    *,
    participant_label: list[str] | None = None,
    session_id: list[str] | None = None,
    modalities: list[str] | None = None,
    weights: str = "qf-mri",
    force_score: bool = False,
    device: str = "auto",
    nprocs: int = 1,
) -> int:
    """Score the scans of a BIDS dataset, and write maps, numbers and pages as its derivatives.

    The same command goes on where it was cut off, scores what has changed, and tries again what failed. Prints one
    tab-separated line: the derivatives, scans found, scored, failed.

    Parameters
    ----------
    bids_dir
        Root of the BIDS dataset.
    output_dir
        Folder of the derivatives, such as BIDS_DIR/derivatives/mriqf.
    analysis_level
        participant scores scans; group puts what was scored into one table and one page.
    participant_label
        Participants to score, with or without sub-; all if not given.
    session_id
        Sessions to score, with or without ses-; all if not given.
    modalities
        Suffixes of images to score; T1w T2w FLAIR PDw T2starw PDT2 inplaneT1 inplaneT2 FLASH angio if not given.
    weights
        Name or path of trained weights.
    force_score
        Give images a score that the calibration does not know, too: it says nothing certain.
    device
        auto, cpu or cuda.
    nprocs
        Processes that score; more than one need the extra cluster.

    Returns
    -------
    0, or 1 if a scan has no score.
    """
    from mriqf.bids.derivatives import prepare
    from mriqf.bids.participant import score_scans
    from mriqf.bids.tree import STRUCTURAL, SUFFIXES, find_scans, read_description
    from mriqf.commands.options import choose_device, say
    from mriqf.commands.score_batch import Options
    from mriqf.commands.table import show
    from mriqf.io.discovery import passed_over

    chosen = modalities or STRUCTURAL
    if unknown := [suffix for suffix in chosen if suffix not in SUFFIXES]:
        raise UsageError(f"--modalities is {unknown[0]!r}: choose of {', '.join(SUFFIXES)}")
    if nprocs < 1:
        raise UsageError(f"--nprocs is {nprocs}: give 1 or more")
    if analysis_level == "group":
        read_description(bids_dir)
        prepare(bids_dir, output_dir)
        _summarise(bids_dir, output_dir)
        return 0
    choose_device(device)
    skipped: dict[str, str] = {}
    scans, others = find_scans(
        bids_dir,
        participants=participant_label or (),
        sessions=session_id or (),
        modalities=chosen,
        skip=skipped.__setitem__,
    )
    prepare(bids_dir, output_dir)
    options = Options(
        weights=weights, pool="auto", calibration="auto", mask=None, axis="slice", slices=":",
        map_dir=None, overlay_dir=None, force_score=force_score, device=device, batch_size=8,
    )  # fmt: skip
    outcome = score_scans(bids_dir, output_dir, scans, options, count=nprocs)
    for line in passed_over(skipped):
        say(f"skipped: {line}")
    if others:
        say("not asked for: " + ", ".join(f"{count} {suffix}" for suffix, count in others.most_common()))
    for line in outcome.failed.values():
        say(f"not scored: {line}")
    if outcome.interrupted:
        raise KeyboardInterrupt
    done = outcome.kept + outcome.scored
    show(f"{output_dir}\t{outcome.total}\t{done}\t{len(outcome.failed)}")
    return 1 if outcome.failed else 0


def _summarise(bids_dir: Path, output_dir: Path) -> None:
    """Write the table and the page of a dataset, and print their numbers of scans."""
    from mriqf.bids.group import summarise
    from mriqf.commands.options import say
    from mriqf.commands.table import show

    count, unscored, damaged = summarise(bids_dir, output_dir)
    for source, reason in damaged.items():
        say(f"warning: {source}: {reason}")
    for source, reason in unscored.items():
        say(f"not scored: {source}: {reason}")
    show(f"{output_dir}\t{count + len(unscored)}\t{count}\t{len(unscored)}")


def main(tokens: Sequence[str] | None = None) -> int:
    """Run the BIDS App; statuses are those of `mriqf.cli.main`."""
    return run_app(tokens, command=app)


if __name__ == "__main__":
    sys.exit(main())
