"""DICOM studies: files of an export, sorted into series, with a reason for each series that is not scored."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mriqf.io.bounds import ReadError, listed, named
from mriqf.io.dicom import INDEX, check_deflated, is_dicom, read_files
from mriqf.io.dicom_header import (
    component,
    find_attribute,
    image_type,
    number_of,
    orientations,
    plane_name,
    sop_class,
    text_of,
)
from mriqf.io.mosaic import find_mosaic
from mriqf.io.volume import Volume, optional, reading

DIRECTORY = "1.2.840.10008.1.3.10"  # SOP class of a file that lists those of a medium
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and its multi-frame kinds
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
"""Columns that identify the patient and the date."""
ABOUT = (
    "description", "protocol", "sequence", "tr_ms", "te_ms", "ti_ms", "flip_deg", "field_t", "manufacturer", "model",
    "plane", "matrix", "voxel_mm", "images",
)  # fmt: skip
KINDS = ("localiser", "derived", "phase", "map", "capture")
"""Kinds of series that are skipped unless included by the user."""


@dataclass(frozen=True, eq=False)
class Series:
    """Images of one series, of one size and kind."""

    name: str
    """``STUDY/NUMBER``, both counted, without names and identities of patients."""
    files: tuple[Path, ...] = field(repr=False)
    about: dict[str, Any]
    """Description, sequence and geometry: `ABOUT`."""
    people: dict[str, str] = field(repr=False)
    """Patient and dates: `PEOPLE`."""
    kind: str = ""
    """One of `KINDS`, or ``other`` for series that cannot be scored; empty for MR images."""
    reason: str = ""
    """Reason why it is skipped; empty for MR images."""

    def read(self, source: str) -> Volume:
        """Read the volume of the series; errors name it `source`."""
        return read_files(source, self.files)


def find_study(path: Path, fail: Callable[[Path, str], object]) -> list[Series]:
    """Sort an export into series: a folder with its subfolders, or the files that a ``DICOMDIR`` lists.

    Parameters
    ----------
    path
        Folder or file. Links to folders are not followed, files that are no DICOM are passed over.
    fail
        Called with each file that cannot be read, or is listed and missing, and the reason.

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
        if sop_class(header) == DIRECTORY or (uid and uid in seen):
            continue  # a directory, or a copy of an image
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
        If there is no series of that name.
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
    """Header of a file without pixels and long values."""
    check_deflated(file)
    header = optional("pydicom", file).dcmread(file, stop_before_pixels=True, force=True, defer_size=2**16)
    if not sop_class(header) and "Rows" not in header:
        raise ReadError(f"{file}: has neither a class nor an image: copy it again")
    return header


def _key(header: Any) -> tuple[Any, ...]:
    """Key of the volume of a file."""
    return (
        text_of(header, "StudyDate") + text_of(header, "StudyTime"),
        text_of(header, "StudyInstanceUID"),
        int(number_of(header, "SeriesNumber") or 0),
        text_of(header, "SeriesInstanceUID"),
        component(header),
        image_type(header)[:2],
        tuple(text_of(header, key) for key in ("Modality", "Rows", "Columns", "SamplesPerPixel")),
    )


def _named(
    by_series: dict[tuple[Any, ...], list[tuple[Path, Any]]], fail: Callable[[Path, str], object]
) -> list[Series]:
    """Series in order, named by the numbers of study and series, with a suffix for series of equal number."""
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
                people = {column: text_of(headers[0], keyword) for column, keyword in PEOPLE.items()}
                series.append(Series(name, files, _about(headers), people, kind, reason))
        except ReadError as error:
            fail(files[0], str(error))
    return series


def _kind(headers: Sequence[Any]) -> tuple[str, str]:
    """Kind of a series and the reason why it is skipped; both empty if it is scored."""
    first = headers[0]
    modality, kinds = text_of(first, "Modality"), image_type(first)
    if "Rows" not in first:
        return "other", f"is {modality or 'of no modality'}, and no image"
    if modality != "MR":
        return "other", f"is {modality or 'of no modality'}, not MR"
    if sop_class(first).startswith(CAPTURE):
        return "capture", "is a screen or secondary capture"
    if part := component(first):
        return "phase", f"is {part}, not magnitude"
    if named_map := next((kind for kind in kinds if kind in MAPS), None):
        return "map", f"is a map or projection ({named_map})"
    if "DERIVED" in kinds[:1] or "SECONDARY" in kinds[1:2]:
        return "derived", f"is derived from other images ({'/'.join(filter(None, kinds[:4]))})"
    description = f"{text_of(first, 'SeriesDescription')} {text_of(first, 'ProtocolName')}"
    if "LOCALIZER" in kinds or LOCALISER.search(description):
        return "localiser", "is a localiser"
    if len(orientations(headers)) > 1:
        return "localiser", "has planes that are not parallel, as a localiser"
    if "MOSAIC" in kinds and find_mosaic(first) is None:
        return "other", "is a mosaic that does not say how its tiles lie"
    return "", ""


def _about(headers: Sequence[Any]) -> dict[str, Any]:
    first = headers[0]
    planes = orientations(headers)
    mosaic = find_mosaic(first) if "Rows" in first else None
    frames = [int(number_of(header, "NumberOfFrames") or 1) for header in headers if "Rows" in header]
    shape = (first.get("Rows"), first.get("Columns")) if mosaic is None else mosaic.shape
    names = (text_of(first, "SequenceName") or text_of(first, "PulseSequenceName"), text_of(first, "ScanningSequence"))
    spacing = find_attribute(first, "PixelSpacing")
    thickness = find_attribute(first, "SpacingBetweenSlices") or find_attribute(first, "SliceThickness")
    numbers = [*(spacing or []), *([thickness] if thickness else [])]
    return {
        "description": text_of(first, "SeriesDescription"),
        "protocol": text_of(first, "ProtocolName"),
        "sequence": " ".join(filter(None, names)) or text_of(first, "AcquisitionContrast"),
        "tr_ms": number_of(first, "RepetitionTime"),
        "te_ms": number_of(first, "EchoTime") or number_of(first, "EffectiveEchoTime"),
        "ti_ms": number_of(first, "InversionTime"),
        "flip_deg": number_of(first, "FlipAngle"),
        "field_t": number_of(first, "MagneticFieldStrength"),
        "manufacturer": text_of(first, "Manufacturer"),
        "model": text_of(first, "ManufacturerModelName"),
        "plane": "" if not planes else plane_name(planes[0]) if len(planes) == 1 else "several",
        "matrix": "" if None in shape else f"{shape[0]}×{shape[1]}",
        "voxel_mm": "×".join(f"{float(n):.3g}" for n in numbers) if spacing else "",
        "images": sum(frames) if mosaic is None else sum(frames) * mosaic.count,
    }
