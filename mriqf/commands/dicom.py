"""`mriqf dicom`: sort exported studies into series and score those of MR images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mriqf.cli import UsageError
from mriqf.commands.options import choose_device, say
from mriqf.commands.score_table import columns, complain, failed_row, nrmse_column, remarks, score_column, volume_row
from mriqf.commands.score_volume import Job, choose_cut_off, map_file, score_volume
from mriqf.commands.table import Column, Table
from mriqf.commands.table_file import TableFile, check_targets, tables
from mriqf.io import Volume, read
from mriqf.io.bounds import named
from mriqf.io.dicom_map import write_dicom_map
from mriqf.io.dicom_study import ABOUT, KINDS, PEOPLE, Series, find_study
from mriqf.scoring.scorer import Scorer

STATUS = ("status", "reason")
FIELDS = ("input", *STATUS, "description", "sequence", "plane", "matrix", "voxel_mm", "images")


@dataclass(frozen=True)
class Wanted:
    """Options of a run, other than those of scoring."""

    include: frozenset[str]
    map_dir: Path | None
    dicom_out: Path | None
    identify: bool
    force: bool


def score_studies(
    *studies: Path,
    include: Sequence[str] = (),
    weights: str = "qf-mri",
    csv: Path | None = None,
    json: Path | None = None,
    map_dir: Path | None = None,
    dicom_out: Path | None = None,
    identify: bool = False,
    header: bool = False,
    force_score: bool = False,
    device: str = "auto",
    force: bool = False,
) -> int:
    """Score the MR series of DICOM exports.

    Files are sorted into series by what they say, wherever they lie: nested folders, DICOMDIR, enhanced files of many
    frames, mosaics. Localisers, derived images, maps, phase images, captures, and all that is not MR are skipped with a
    reason. Prints a row a series: its name, whether it was scored, and why not; description, sequence and geometry; the
    score. Series are named STUDY/NUMBER, both counted. Names, identities and dates of patients are written nowhere
    unless --identify is given; descriptions are as the scanner has them.

    Parameters
    ----------
    studies
        Folders, which are searched with all that is below, DICOMDIR files, or single files.
    include
        Kinds to score that are skipped otherwise: localiser, derived, phase, map, capture.
    weights
        Name or path of trained weights.
    csv
        Table to write: the columns of mriqf score, and of each series what is printed, with timing and scanner.
    json
        The same, as a list of objects.
    map_dir
        Folder for quality maps as NIfTI.
    dicom_out
        Folder for quality maps as DICOM parametric maps, which viewers lay over the series; needs the extra dicom.
    identify
        Write who was imaged, and when, into tables and DICOM maps.
    header
        Begin the tab-separated rows with a line of names.
    force_score
        Give images a score that the calibration does not know, too: it says nothing certain.
    device
        auto, cpu or cuda.
    force
        Replace files that exist.

    Returns
    -------
    0, or 1 if a file could not be read or a series not be scored.
    """
    if not studies:
        raise UsageError("no study given: mriqf dicom FOLDER…")
    if unknown := [kind for kind in include if kind not in KINDS]:
        raise UsageError(f"--include is {unknown[0]!r}: choose of {', '.join(KINDS)}")
    check_targets(csv, json, force=force)
    try:
        scorer = Scorer(weights, device=choose_device(device))
        cut = choose_cut_off(scorer.calibration, None)
    except ValueError as error:
        raise UsageError(str(error)) from None
    for folder in (map_dir, dicom_out):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    wanted = Wanted(frozenset(include), map_dir, dicom_out, identify, force)
    failures: list[str] = []
    all_series: list[tuple[str, str, Series]] = []
    for number, path in enumerate(studies, start=1):
        try:
            series = find_study(path, lambda file, reason: failures.append(complain(str(file), reason)))
        except (ValueError, OSError) as error:
            failures.append(complain(str(path), named(error)))
            continue
        stem = f"export{number}_" if len(studies) > 1 else ""
        all_series += [(f"{path}#{one.name}", f"{stem}study{one.name.replace('/', '_series')}", one) for one in series]
    names = (*columns(scorer.calibration is not None), *STATUS, *ABOUT, *(PEOPLE if identify else ()))
    count = {"scored": 0, "skipped": 0, "failed": len(failures)}
    with tables(csv, json, names, force=force) as files, TemporaryDirectory() as scratch:
        kept = Path(scratch) if map_dir is None else map_dir
        job = Job(
            scorer, weights, cut, None, "slice", slice(None), kept if map_dir or dicom_out else None, None,
            force_score, force,
        )  # fmt: skip
        table = _table([source for source, _, _ in all_series], scorer, header)
        for source, name, one in all_series:
            rows, whole, error = _score(job, wanted, source, name, one, names)
            for row in (*rows, whole):
                _keep(row, files)
            if error:
                failures.append(error)
            count[whole["status"]] += 1
            table.row(_shown(whole, rows), whole["reason"])
    for line in failures:
        say(f"error: {line}")
    say(", ".join(f"{number} {what}" for what, number in count.items()))
    return 1 if failures else 0


def _score(
    job: Job, wanted: Wanted, source: str, name: str, series: Series, names: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """Rows of a series' slices, row of the series, and error message (empty if there is none)."""
    about = dict(series.about) | (series.people if wanted.identify else {})
    if series.kind and series.kind not in wanted.include:
        row = failed_row(source, series.reason, names)
        return [], row | about | {"status": "skipped", "reason": series.reason}, ""
    rows: list[dict[str, Any]] = []
    try:
        volume = series.read(source)
        score_volume(job, source, name, rows.append, volume)
        if wanted.dicom_out is not None and job.map_dir is not None:
            _write_maps(wanted, wanted.dicom_out, map_file(job.map_dir, name), name, series, volume)
    except (ValueError, OSError, ImportError) as error:
        line = complain(source, named(error))
        reason = line.removeprefix(f"{source}: ")
        for file in series.files:  # folders may be called after patients
            reason = reason.replace(str(file), file.name)
        failure = {"status": "failed", "reason": reason}
        return [], failed_row(source, reason, names) | about | failure, line
    about |= {"status": "scored", "reason": ""}
    if wanted.map_dir is None:
        about["map"] = None
    return [row | about for row in rows], volume_row(rows) | about, ""


def _write_maps(wanted: Wanted, folder: Path, written: Path, name: str, series: Series, volume: Volume) -> None:
    """Convert the NIfTI map of a series to DICOM parametric maps, one for each time."""
    import nibabel

    header: Any = nibabel.load(written).header
    maps, deep = read(written), volume.grid[0]
    for time in range(volume.n_slices // deep):
        values = np.stack([maps.read_slice(time * deep + k)[0] for k in range(deep)])
        ending = f"_t{time:03d}" if volume.n_slices > deep else ""
        write_dicom_map(
            folder / f"{name}{ending}_quality.dcm",
            volume,
            values,
            series.files,
            limits=(float(header["cal_min"]), float(header["cal_max"])),
            description=bytes(header["descrip"].tobytes()).rstrip(b"\0").decode("ascii", "replace"),
            identify=wanted.identify,
            force=wanted.force,
        )


def _keep(row: dict[str, Any], files: Sequence[TableFile]) -> None:
    for file in files:
        file.write(row)


def _table(names: Sequence[str], scorer: Scorer, header: bool) -> Table:
    def text(key: str, width: int) -> Column:
        return Column(key.partition("_")[0], "", width, lambda row: str(row[key] or "")[:width], words=True)

    shown = [text("description", 24), text("sequence", 12), text("plane", 17), text("matrix", 9), text("voxel_mm", 15)]
    shown += [Column("images", "", 6, lambda row: str(row["images"]))]
    shown += [] if scorer.calibration is None else [nrmse_column(scorer.calibration)]
    shown += [score_column(), Column("remark", "", 0, lambda row: row["remark"], words=True)]
    printed = columns(scorer.calibration is not None)
    numbers = [name for name in ("nrmse", "nrmse_low", "nrmse_high", "score", "foreground_fraction") if name in printed]
    return Table((*FIELDS, *numbers, "remark"), shown, names, "series", header=header, keep=6)


def _shown(whole: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    no_numbers = dict.fromkeys(("nrmse", "nrmse_low", "nrmse_high"))
    return {**no_numbers, **whole, "remark": "; ".join(remarks(whole, rows)) if rows else ""}
