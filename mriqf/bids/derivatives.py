"""Derivatives of a BIDS dataset: names, the dataset's own files, and the record of a scan that says it is done."""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mriqf import __version__
from mriqf.bids.tree import DESCRIPTION, Scan, read_description
from mriqf.io import ReadError, atomic_path
from mriqf.io.bounds import read_text

BIDS_VERSION = "1.10.0"
ORDER = (
    "sub", "ses", "sample", "task", "tracksys", "acq", "nuc", "voi", "ce", "trc", "stain", "rec", "dir", "run", "mod",
    "echo", "flip", "inv", "mt", "part", "proc", "hemi", "space", "split", "recording", "chunk", "seg", "res", "den",
    "label", "desc",
)  # fmt: skip
"""Order of the entities in a name, by the specification."""
PLACES = ("input", "slice", "time", "map")
"""Columns of a row that hold paths and positions, which differ between copies of a dataset."""
ABOUT = ("bids_name", "slices", "bids_meta", "provenance")
"""Keys of a record that are not columns."""
RECORD = "_quality.json"
WORK = ".work"
IGNORE = f"*_desc-quality_map.*\n*{RECORD}\n*.html\n*.tsv\n/group_quality.json\n{WORK}/\n"
"""Files outside the specification, for ``.bidsignore``."""
README = """Quality of the scans of a BIDS dataset, estimated by mriqf from the images alone.

*_desc-quality_map.nii.gz   quality of each pixel, in the space of the scan
*_quality.json              numbers of the scan and of its slices
sub-*.html                  scans under their maps
group_quality.tsv           one row a scan, by bids_name; described in group_quality.json
group_quality.html          the same as a page
group_not_scored.tsv        scans without a score, and why
"""


def derived(scan: Scan, suffix: str, ending: str, desc: str = "") -> Path:
    """Path of a derivative of a scan, relative to the dataset of derivatives.

    The scan's suffix becomes the entity ``mod``, so that what belongs to a T1w and to a T2w do not share a name.
    """
    entities = dict(scan.entities) | {"mod": scan.suffix}
    if desc:
        before = entities.get("desc", "")  # the scan is a derivative itself
        entities["desc"] = before + desc.capitalize() if before else desc
    keys = sorted(entities, key=lambda key: ORDER.index(key) if key in ORDER else len(ORDER) - 1.5)
    name = "_".join([*(f"{key}-{entities[key]}" for key in keys), suffix]) + ending
    return Path(*Path(scan.relative).parts[:-1], name)


def prepare(root: Path, out: Path) -> None:
    """Create the dataset of derivatives, unless it exists.

    Raises
    ------
    FileExistsError
        If the folder is the dataset itself, or holds another's.
    """
    if out.exists() and (not out.is_dir() or out.samefile(root)):
        what = "is the dataset itself" if out.is_dir() else "is a file"
        raise FileExistsError(f"{out} {what}: name another folder for the derivatives, e.g. {root}/derivatives/mriqf")
    if (out / DESCRIPTION).exists():
        makers = read_description(out).get("GeneratedBy")
        names = [maker.get("Name") for maker in makers if isinstance(maker, dict)] if isinstance(makers, list) else []
        if "mriqf" not in names:
            raise FileExistsError(f"{out} holds another dataset: name another folder for the derivatives")
        return
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / ".bidsignore", IGNORE)
    write_text(out / "README", README)
    write_json(
        out / DESCRIPTION,
        {
            "Name": f"Image quality of {read_description(root)['Name']}",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "mriqf", "Version": __version__}],
            "DatasetLinks": {"source": Path(os.path.relpath(root, out)).as_posix()},
        },
    )


def scores(whole: Mapping[str, Any], slices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Content of the record of a scored scan: columns of its row, and for each slice the columns that differ."""
    numbers = {key: value for key, value in whole.items() if key not in PLACES}
    differ = [
        {k: v for k, v in row.items() if k in ("slice", "time") or (k in numbers and v != numbers[k])} for row in slices
    ]
    return numbers | {"slices": differ}


def write_record(path: Path, scan: Scan, provenance: Mapping[str, str], content: Mapping[str, Any]) -> None:
    """Write the record of a scan: `scores`, or the reason why it has none as ``not_scored``."""
    meta = {"source": scan.relative, "map": derived(scan, "map", ".nii.gz", "quality").name}
    meta |= {"datatype": scan.datatype, **scan.entities, "suffix": scan.suffix}
    about = {"bids_meta": meta, "provenance": {"software": "mriqf", **provenance}}
    write_json(path, {"bids_name": scan.name, **content, **about})


def read_record(path: Path) -> dict[str, Any]:
    """Read the record of a scan.

    Raises
    ------
    ReadError
        If the file is not a record.
    """
    record: Any = None
    with suppress(ValueError, RecursionError):
        record = json.loads(read_text(path))
    if not _is_record(record):
        raise ReadError(f"{path}: is no record of a scan by mriqf: remove it, and score the scan again")
    return record


def records(out: Path, subject: str = "sub-*") -> Iterator[tuple[Path, dict[str, Any]]]:
    """Records in a dataset of derivatives, by name, each with its folder."""
    for folder in sorted(out.glob(subject)):
        if folder.is_dir():
            for path in sorted(folder.rglob(f"*{RECORD}")):
                yield path.parent, read_record(path)


def rows(record: Mapping[str, Any], root: Path, folder: Path) -> list[dict[str, Any]]:
    """Rows of the slices of a record, with the columns of a table of scores and the present paths of the files."""
    numbers = {key: value for key, value in record.items() if key not in ABOUT}
    meta = record["bids_meta"]
    places = {"input": str(root / meta["source"]), "map": str(folder / meta["map"])}
    return [{**numbers, **places, "time": None, **row} for row in record["slices"]]


def digest(*things: Any) -> str:
    """Hash of the settings and files that a result depends on."""
    return hashlib.sha256(json.dumps(things, sort_keys=True).encode()).hexdigest()[:16]


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, with null for NaN."""
    write_text(path, json.dumps(_plain(content), indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text atomically, replacing an older file."""
    with atomic_path(path, force=True) as temporary:
        temporary.write_bytes(text.encode("utf-8", "surrogateescape"))


def _is_record(content: Any) -> bool:
    try:
        texts = content["bids_name"], content["bids_meta"]["source"], content["bids_meta"]["map"]
        sound = "not_scored" in content or all(isinstance(row, dict) for row in content["slices"])
    except (KeyError, TypeError):
        return False
    return sound and isinstance(content["provenance"], dict) and all(isinstance(text, str) for text in texts)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
