"""DICOM studies: the files of an export, sorted into series, and which of these are MR images to score."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mriqf.io.bounds import ReadError, listed, named
from mriqf.io.dicom import INDEX, check_deflated, is_dicom, read_files
from mriqf.io.mosaic import find_mosaic
from mriqf.io.volume import Volume, optional, reading

DIRECTORY = "1.2.840.10008.1.3.10"  # SOP class of a file that lists those of a medium
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and its multi-frame kinds
COMPLEX = {
    **dict.fromkeys(("P", "PHASE", "PHASE MAP"), "phase"),
    **dict.fromkeys(("R", "REAL"), "the real part"),
    **dict.fromkeys(("I", "IMAGINARY"), "the imaginary part"),
    "MIXED": "magnitude and phase in one",
}
"""Third value of the image type, or the complex image component, of what is no magnitude."""
GE_COMPLEX = {1: "phase", 2: "the real part", 3: "the imaginary part"}
GE_KIND = (0x0043, 0x102F)
MAPS = ("ADC", "FA", "TRACEW", "T1 MAP", "T2 MAP", "T2_STAR MAP", "VELOCITY MAP", "B0 MAP", "FIELD MAP", "MIP", "MPR")
LOCALISER = re.compile(
    r"(?<![a-z])(loc|localizer|localiser|scout|survey|pilot|(3|three)[ -_]?(plane|pl))(?![a-z])", re.I
)
PEOPLE = {
    "patient_name": "PatientName",
    "patient_id": "PatientID",
    "study_date": "StudyDate",
    "accession_number": "AccessionNumber",
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
}
"""Columns that say who was imaged, and when."""
ABOUT = (
    "description", "protocol", "sequence", "tr_ms", "te_ms", "ti_ms", "flip_deg", "field_t", "manufacturer", "model",
    "plane", "matrix", "voxel_mm", "images",
)  # fmt: skip
KINDS = ("localiser", "derived", "phase", "map", "capture")
"""Kinds of series that are passed over unless asked for."""


@dataclass(frozen=True, eq=False)
class Series:
    """Images of one series, of one size and kind."""

    name: str
    """``STUDY/NUMBER``, both counted: names and identities of patients are not in it."""
    files: tuple[Path, ...] = field(repr=False)
    about: dict[str, Any]
    """Description, sequence and geometry: `ABOUT`."""
    people: dict[str, str] = field(repr=False)
    """Patient and dates: `PEOPLE`."""
    kind: str = ""
    """One of `KINDS`, or ``other`` for series that cannot be scored; empty for MR images."""
    reason: str = ""
    """Why it is passed over."""

    def read(self, source: str) -> Volume:
        """Volume of the series; `source` is what errors call it."""
        return read_files(source, self.files)


def find_study(path: Path, fail: Callable[[Path, str], object]) -> list[Series]:
    """Series of an export: a folder with all that is below it, or a ``DICOMDIR`` with the files that it lists.

    Parameters
    ----------
    path
        Folder or file. Links to folders are not followed, files that are no DICOM are passed over.
    fail
        Is called with each file that cannot be read or is listed and not there, and the reason.

    Raises
    ------
    ReadError
        If there is no such folder, or no DICOM file in it.
    """
    by_series: dict[tuple[Any, ...], list[tuple[Path, Any]]] = defaultdict(list)
    seen: set[str] = set()
    count = 0
    for file in _dicom_files(path, fail):
        count += 1
        try:
            with reading(file):
                header = _header(file)
                key = _key(header)
        except (ReadError, OSError) as error:
            fail(file, named(error))
            continue
        uid = str(header.get("SOPInstanceUID") or "")
        if _class(header) == DIRECTORY or (uid and uid in seen):
            continue  # an index, or a copy
        seen.add(uid)
        by_series[key].append((file, header))
    if not count:
        raise ReadError(f"{path}: no DICOM file is in it: name the folder of an export, or its DICOMDIR")
    return _named(by_series, fail)


def read_series(path: Path, name: str) -> Volume:
    """Volume of one series of an export, by its `Series.name`.

    Raises
    ------
    ReadError
        If there is none of that name.
    """
    known = {series.name: series for series in find_study(path, lambda file, reason: None)}  # noqa: ARG005
    if name not in known:
        raise ReadError(f"{path}: has no series {name}: choose {listed(known)}")
    return known[name].read(f"{path}#{name}")


def _dicom_files(path: Path, fail: Callable[[Path, str], object]) -> Iterator[Path]:
    if not path.exists():
        raise ReadError(f"{path}: does not exist: check the path")
    if path.is_file():
        yield from _listed(path, fail) if _is_directory(path) else [path]
        return
    for folder, inner, names in os.walk(path, onerror=lambda error: fail(Path(str(error.filename)), named(error))):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            try:
                if name.startswith(".") or not file.is_file():
                    continue
                with file.open("rb") as stream:
                    dicom = is_dicom(stream.read(132))
            except OSError as error:
                fail(file, named(error))
                continue
            if dicom and name.upper() != INDEX:
                yield file
            elif name.lower().endswith((".dcm", ".ima")):
                fail(file, f"{file}: is no DICOM file, or is cut short: copy it again")


def _is_directory(path: Path) -> bool:
    if path.name.upper() == INDEX:
        return True
    with reading(path):
        check_deflated(path)
        meta = optional("pydicom", path).filereader.read_file_meta_info(path)
    return str(meta.get("MediaStorageSOPClassUID", "")) == DIRECTORY


def _listed(path: Path, fail: Callable[[Path, str], object]) -> Iterator[Path]:
    """Files that a ``DICOMDIR`` lists."""
    with reading(path):
        check_deflated(path)
        records = optional("pydicom", path).dcmread(path, force=True).get("DirectoryRecordSequence") or []
    root = path.parent.resolve()
    for record in records:
        if not (parts := record.get("ReferencedFileID")):
            continue
        file = path.parent.joinpath(*([parts] if isinstance(parts, str) else map(str, parts)))
        if not file.resolve().is_relative_to(root):
            fail(file, f"{path}: lists a file outside of its folder, which is not read")
        elif not file.is_file():
            fail(file, f"{file}: is listed in {path.name}, but is not there: copy the export again")
        else:
            yield file


def _header(file: Path) -> Any:
    """All of a file but its pixels and long values."""
    check_deflated(file)
    header = optional("pydicom", file).dcmread(file, stop_before_pixels=True, force=True, defer_size=2**16)
    if not _class(header) and "Rows" not in header:
        raise ReadError(f"{file}: has neither a class nor an image: copy it again")
    return header


def _class(header: Any) -> str:
    return str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID", ""))


def _key(header: Any) -> tuple[Any, ...]:
    """Files with equal keys are one volume."""
    return (
        _text(header, "StudyDate") + _text(header, "StudyTime"),
        _text(header, "StudyInstanceUID"),
        int(_number(header, "SeriesNumber") or 0),
        _text(header, "SeriesInstanceUID"),
        _component(header),
        _type(header)[:2],
        tuple(_text(header, key) for key in ("Modality", "Rows", "Columns", "SamplesPerPixel")),
    )


def _named(
    by_series: dict[tuple[Any, ...], list[tuple[Path, Any]]], fail: Callable[[Path, str], object]
) -> list[Series]:
    """Series in order, named by the number of the study and their own; several of one number are told apart."""
    studies: list[tuple[str, str]] = []
    taken: Counter[str] = Counter()
    series = []
    for key in sorted(by_series):
        date, uid, number, *_ = key
        if (date, uid) not in studies:
            studies.append((date, uid))
        name = f"{studies.index((date, uid)) + 1}/{number}"
        taken[name] += 1
        if taken[name] > 1:
            name += f".{taken[name]}"
        files, headers = zip(*by_series[key], strict=True)
        try:
            with reading(files[0]):
                kind, reason = _kind(headers)
                people = {column: _text(headers[0], keyword) for column, keyword in PEOPLE.items()}
                series.append(Series(name, files, _about(headers), people, kind, reason))
        except ReadError as error:
            fail(files[0], str(error))
    return series


def _kind(headers: Sequence[Any]) -> tuple[str, str]:
    """Kind of series and why it is passed over; empty for what is scored."""
    first = headers[0]
    modality, kinds = _text(first, "Modality"), _type(first)
    if "Rows" not in first:
        return "other", f"is {modality or 'of no modality'}, and no image"
    if modality != "MR":
        return "other", f"is {modality or 'of no modality'}, not MR"
    if _class(first).startswith(CAPTURE):
        return "capture", "is a screen or secondary capture"
    if part := _component(first):
        return "phase", f"is {part}, not magnitude"
    if named_map := next((kind for kind in kinds if kind in MAPS), None):
        return "map", f"is a map or projection ({named_map})"
    if "DERIVED" in kinds[:1] or "SECONDARY" in kinds[1:2]:
        return "derived", f"is derived from other images ({'/'.join(filter(None, kinds[:4]))})"
    description = f"{_text(first, 'SeriesDescription')} {_text(first, 'ProtocolName')}"
    if "LOCALIZER" in kinds or LOCALISER.search(description):
        return "localiser", "is a localiser"
    if len(_planes(headers)) > 1:
        return "localiser", "has planes that are not parallel, as a localiser"
    if "MOSAIC" in kinds and find_mosaic(first) is None:
        return "other", "is a mosaic that does not say how its tiles lie"
    return "", ""


def _about(headers: Sequence[Any]) -> dict[str, Any]:
    first = headers[0]
    planes = _planes(headers)
    mosaic = find_mosaic(first) if "Rows" in first else None
    frames = [int(_number(header, "NumberOfFrames") or 1) for header in headers if "Rows" in header]
    shape = (first.get("Rows"), first.get("Columns")) if mosaic is None else mosaic.shape
    names = (_text(first, "SequenceName") or _text(first, "PulseSequenceName"), _text(first, "ScanningSequence"))
    spacing = _deep(first, "PixelSpacing")
    thickness = _deep(first, "SpacingBetweenSlices") or _deep(first, "SliceThickness")
    numbers = [*(spacing or []), *([thickness] if thickness else [])]
    return {
        "description": _text(first, "SeriesDescription"),
        "protocol": _text(first, "ProtocolName"),
        "sequence": " ".join(filter(None, names)) or _text(first, "AcquisitionContrast"),
        "tr_ms": _number(first, "RepetitionTime"),
        "te_ms": _number(first, "EchoTime") or _number(first, "EffectiveEchoTime"),
        "ti_ms": _number(first, "InversionTime"),
        "flip_deg": _number(first, "FlipAngle"),
        "field_t": _number(first, "MagneticFieldStrength"),
        "manufacturer": _text(first, "Manufacturer"),
        "model": _text(first, "ManufacturerModelName"),
        "plane": "" if not planes else _plane(planes[0]) if len(planes) == 1 else "several",
        "matrix": "" if None in shape else f"{shape[0]}×{shape[1]}",
        "voxel_mm": "×".join(f"{float(n):.3g}" for n in numbers) if spacing else "",
        "images": sum(frames) if mosaic is None else sum(frames) * mosaic.count,
    }


def _planes(headers: Sequence[Any]) -> list[tuple[float, ...]]:
    """Different orientations of the images of a series, as unit vectors along rows and columns."""
    known: list[np.ndarray] = []
    for header in headers:
        frames = header.get("PerFrameFunctionalGroupsSequence") or [header]
        for frame in frames if len(frames) < 2**12 else frames[:1]:
            value = _deep(frame, "ImageOrientationPatient") or _deep(header, "ImageOrientationPatient")
            if value is not None and len(value) == 6:
                one = np.asarray(value, np.float64)
                if not any(np.allclose(one, other, atol=1e-2) for other in known):
                    known.append(one)
    return [tuple(one.tolist()) for one in known]


def _plane(orientation: Sequence[float]) -> str:
    """Anatomical plane, and whether it is tilted by more than 5°."""
    normal = np.cross(orientation[:3], orientation[3:])
    axis = int(np.abs(normal).argmax())
    size = float(np.linalg.norm(normal)) or 1.0
    oblique = abs(normal[axis]) < size * np.cos(np.radians(5))
    return ("sagittal", "coronal", "axial")[axis] + (", oblique" if oblique else "")


def _component(header: Any) -> str:
    """Component that an image shows instead of magnitude; empty for magnitude."""
    if (kind := header.get(GE_KIND)) is not None and kind.value in GE_COMPLEX:
        return GE_COMPLEX[kind.value]
    named_so = _text(header, "ComplexImageComponent")
    return COMPLEX.get(named_so) or next((COMPLEX[kind] for kind in _type(header)[2:] if kind in COMPLEX), "")


def _type(header: Any) -> tuple[str, ...]:
    value = header.get("ImageType")
    parts = [value] if isinstance(value, str) else list(value or ())
    return tuple(str(part).upper() for part in parts)


def _deep(header: Any, keyword: str) -> Any:
    """Value of an attribute, or of the first functional group that has it."""
    if header.get(keyword) not in (None, ""):
        return header.get(keyword)
    shared, per_frame = (header.get(f"{kind}FunctionalGroupsSequence") or [] for kind in ("Shared", "PerFrame"))
    for group in (header, *shared[:1], *per_frame[:1]):
        for part in group:
            if part.VR == "SQ" and part.value and part.value[0].get(keyword) not in (None, ""):
                return part.value[0].get(keyword)
    return None


def _text(header: Any, keyword: str) -> str:
    value = header.get(keyword)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "/".join(map(str, value))
    return "" if value is None else str(value).strip()


def _number(header: Any, keyword: str) -> float | None:
    value = _deep(header, keyword)
    try:
        return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)
    except (TypeError, ValueError, IndexError):
        return None
