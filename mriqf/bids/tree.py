"""Scans of a BIDS dataset, known by their names and places.

The Brain Imaging Data Structure: Gorgolewski et al., Sci Data 2016, doi:10.1038/sdata.2016.44;
https://bids-specification.readthedocs.io.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mriqf.io import ReadError
from mriqf.io.bounds import listed, read_text
from mriqf.io.volume import reading

DESCRIPTION = "dataset_description.json"
DATATYPES = ("anat", "dwi", "fmap", "func", "perf")
STRUCTURAL = (
    "T1w", "T2w", "FLAIR", "PDw", "T2starw", "PDT2", "inplaneT1", "inplaneT2", "FLASH", "angio",
)  # fmt: skip
"""Suffixes that are scored unless others are asked for: weighted images, one contrast a file."""
SUFFIXES = (
    *STRUCTURAL, "UNIT1", "MEGRE", "MESE", "MP2RAGE", "VFA", "MPM", "MTS", "IRT1", "TB1TFL", "TB1EPI", "dwi", "sbref",
    "bold", "cbv", "epi", "magnitude", "magnitude1", "magnitude2", "asl", "m0scan",
)  # fmt: skip
"""Suffixes of magnitude images."""
ENDINGS = (".nii.gz", ".nii")
LABEL = re.compile(r"[0-9A-Za-z+]+")
NO_MAGNITUDE = {"phase": "phase", "real": "the real part", "imag": "the imaginary part"}


@dataclass(frozen=True)
class Scan:
    """One image of a dataset."""

    path: Path
    relative: str
    """Path below the dataset, with ``/``."""
    datatype: str
    entities: dict[str, str] = field(hash=False)
    """Labels by key, in the order of the name: ``{"sub": "01", "ses": "2"}``."""
    suffix: str

    @property
    def name(self) -> str:
        """Name without ending, by which tables of BIDS Apps know a scan."""
        return strip_ending(self.path.name)


def strip_ending(name: str) -> str:
    """Name of an image without its ending."""
    return next((name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending)), name)


def read_description(root: Path) -> dict[str, Any]:
    """Read the ``dataset_description.json`` of a dataset.

    Raises
    ------
    ReadError
        If the folder is no BIDS dataset.
    """
    if not root.is_dir():
        raise ReadError(f"{root}: is no folder: name the root of a BIDS dataset")
    path = root / DESCRIPTION
    if not path.is_file():
        raise ReadError(f"{root}: is no BIDS dataset, for it has no {DESCRIPTION}: name the root of one")
    try:
        description = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ReadError(f"{path}: is no JSON ({error}): correct it") from None
    known = description if isinstance(description, dict) else {}
    if missing := [key for key in ("Name", "BIDSVersion") if not known.get(key)]:
        raise ReadError(f"{path}: says no {' and no '.join(missing)}, which BIDS requires: add what is missing")
    return description


def find_scans(
    root: Path,
    *,
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
    modalities: Sequence[str] = STRUCTURAL,
    skip: Callable[[str, str], object] = lambda path, reason: None,  # noqa: ARG005
) -> tuple[list[Scan], Counter[str]]:
    """Scans of a dataset in the order of their names.

    Parameters
    ----------
    root
        Root folder of a BIDS dataset, raw or derivative.
    participants, sessions
        Labels to choose, with or without ``sub-`` and ``ses-``; all if none are given.
    modalities
        Suffixes to choose.
    skip
        Called with the relative path of each skipped scan, and the reason.

    Returns
    -------
    list
        Scans.
    Counter
        Number of images of each suffix that is not in `modalities`.

    Raises
    ------
    ReadError
        If the folder is no BIDS dataset, or has no participant or session of a label that was asked for.
    """
    read_description(root)
    subjects = _folders(root, "sub")
    if not subjects:
        raise ReadError(f"{root}: has no folder sub-…: name the root of a BIDS dataset")
    chosen = _choose(root, subjects, participants, "participant", "sub")
    ignored = _ignored(root)
    scans: dict[str, Scan] = {}
    others: Counter[str] = Counter()
    known_sessions: set[str] = set()
    wanted = {_label(session, "ses") for session in sessions}
    for subject in chosen:
        home = root / f"sub-{subject}"
        places: list[tuple[Path, str | None]] = [(home / f"ses-{s}", s) for s in _folders(home, "ses")]
        known_sessions |= {s for _, s in places if s is not None}
        for folder, session in [*([] if wanted else [(home, None)]), *places]:
            if wanted and session not in wanted:
                continue
            for path, datatype in _images(folder):
                relative = path.relative_to(root).as_posix()
                scan = parse(path, relative, datatype)
                suffix = strip_ending(path.name).rpartition("_")[2]
                if suffix not in modalities:
                    others[suffix] += suffix in SUFFIXES
                elif scan is None or (scan.entities["sub"], scan.entities.get("ses")) != (subject, session):
                    skip(relative, "is no name that BIDS knows in this folder")
                elif ignored(relative):
                    skip(relative, "is named in .bidsignore")
                elif (part := scan.entities.get("part")) in NO_MAGNITUDE:
                    skip(relative, f"is {NO_MAGNITUDE[part]}, not magnitude")
                elif (key := strip_ending(relative)) in scans:
                    skip(relative, f"has the name of {scans[key].path.name}")
                else:
                    scans[key] = scan
    if unknown := sorted(wanted - known_sessions):
        raise ReadError(f"{root}: has no session {unknown[0]} (--session-id): it has {listed(sorted(known_sessions))}")
    return list(scans.values()), +others


def parse(path: Path, relative: str, datatype: str) -> Scan | None:
    """Scan of a name such as ``sub-01_ses-2_T1w.nii.gz``; None for a name that is not BIDS's."""
    *pairs, suffix = strip_ending(path.name).split("_")
    split = [pair.partition("-") for pair in pairs]
    entities = {key: label for key, _, label in split}
    sound = len(entities) == len(pairs) and all(key and LABEL.fullmatch(label) for key, label in entities.items())
    if not sound or not LABEL.fullmatch(suffix) or not pairs or split[0][0] != "sub":
        return None
    return Scan(path, relative, datatype, entities, suffix)


def _folders(home: Path, key: str) -> list[str]:
    """Labels of the folders ``key-label``."""
    with os.scandir(home) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(f"{key}-") and entry.is_dir()]
    return sorted(name.removeprefix(f"{key}-") for name in names)


def _images(folder: Path) -> Iterator[tuple[Path, str]]:
    """NIfTI files of a participant's or session's data folders, with the data type; links are followed."""
    for datatype in DATATYPES:
        if (folder / datatype).is_dir():
            with os.scandir(folder / datatype) as entries:
                names = sorted(e.name for e in entries if e.name.endswith(ENDINGS) and not e.name.startswith("."))
            yield from ((folder / datatype / name, datatype) for name in names)


def _choose(root: Path, known: Sequence[str], asked: Sequence[str], what: str, key: str) -> list[str]:
    labels = [_label(label, key) for label in asked]
    if unknown := [label for label in labels if label not in known]:
        raise ReadError(f"{root}: has no {what} {unknown[0]} (--{what}-label): it has {listed(known)}")
    return sorted(set(labels)) or list(known)


def _label(text: str, key: str) -> str:
    return text.removeprefix(f"{key}-")


def _ignored(root: Path) -> Callable[[str], bool]:
    """Test of relative paths by the patterns of ``.bidsignore``, which are those of ``.gitignore``."""
    path = root / ".bidsignore"
    if not path.is_file():
        return lambda relative: False  # noqa: ARG005
    try:
        from pathspec import GitIgnoreSpec
    except ImportError:
        raise ImportError(f"{path}: its patterns need pathspec: pip install pathspec") from None
    with reading(path):
        return GitIgnoreSpec.from_lines(read_text(path).decode().splitlines()).match_file
