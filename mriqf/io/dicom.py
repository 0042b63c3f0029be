"""DICOM: a file with one or many frames, or a folder that holds a series."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from mriqf.io.bounds import check_claim, listed, stored_bytes
from mriqf.io.mosaic import find_mosaic
from mriqf.io.raster import limited
from mriqf.io.volume import ReadError, Volume, optional, reading, stack

FRAMES = 2**16  # of a file: each costs time before any is read
INDEX = "DICOMDIR"  # name of the file that lists those of a medium
ROWS = 0x00280010
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Frame:
    """Image of a series: place of its pixels in the file, their meaning, and its position in the patient."""

    path: Path
    index: int  # within the file
    number: tuple[int, int]  # order of acquisition: the instance's number, the frame's in it
    series: str
    syntax: str  # transfer syntax of the pixels
    pixels: tuple[int, int, int, str]  # rows, columns, samples per pixel, photometric interpretation
    rescale: Any  # the pydicom Dataset with the slope and intercept
    highest: int  # highest and lowest value that the pixels can have add up to this
    place: Float64[np.ndarray, "4 4"] | None  # its affine in mm, left-posterior-superior
    tile: tuple[int, int] | None = None  # first row and column, of an image that a mosaic holds


def read_dicom(path: Path, series: str | None = None) -> Volume:
    """Volume in a DICOM file or series, in the order of positions in space, or else of the instances' numbers.

    Parameters
    ----------
    path
        File, or folder of one series.
    series
        Number of the series to take out of a folder of several: see `find_series`.
    """
    with reading(path):
        files = _files(path)
        if series is not None:
            if series not in (known := find_series(files)[0]):
                raise ReadError(f"{path}: has no series {series}: choose {listed(known)}")
            files = known[series]
    return read_files(path, files)


def read_files(path: Path | str, files: Sequence[Path]) -> Volume:
    """Volume in the files of a series; errors name it `path`."""
    with reading(path):
        frames = [frame for file in files for frame in _frames(file)]
    if not frames:
        raise ReadError(f"{path}: no DICOM image is in it: give a DICOM file, or the folder of one series")
    if (count := len({frame.series for frame in frames})) > 1:
        raise ReadError(
            f"{path}: mixes {count} series (SeriesInstanceUID): put each series in a folder of its own, "
            f"or give one as {path}#NUMBER, of {listed(find_series(files)[0])}"
        )
    if len(kinds := {frame.pixels for frame in frames}) > 1:
        raise ReadError(f"{path}: mixes images of {len(kinds)} sizes or colours: put each kind in a folder of its own")
    rows, columns, samples, photometric = frames[0].pixels
    if photometric == "PALETTE COLOR" or samples not in (1, 3):
        raise ReadError(f"{path}: its colours are {photometric}, neither grey nor RGB: convert it to RGB first")
    with reading(path):
        for syntax in {frame.syntax for frame in frames}:
            decoder = optional("pydicom.pixels", path).get_decoder(syntax)
            if not decoder.is_available:
                raise ReadError(
                    f"{path}: is compressed as {decoder.UID.name}, for which no decoder is installed: "
                    "pip install python-gdcm, or decompress it, e.g. gdcmconv --raw"
                )
        frames, grid, affine = _arrange(frames)
    return stack(path, lambda i: _pixels(frames[i]), (rows, columns), grid=grid, channels=samples, affine=affine)


def is_dicom(head: bytes) -> bool:
    """True if a file that starts like this is DICOM, with its preamble or, as in old files, without."""
    bare = head[:2] in (b"\x02\x00", b"\x08\x00") and head[3:4] == b"\x00" and len(head) > 8
    return head[128:132] == b"DICM" or bare


def find_series(files: Sequence[Path]) -> tuple[dict[str, list[Path]], list[Path]]:
    """DICOM files of a folder by series number, and files without an image.

    Series of one number are told apart as ``3.1``, ``3.2``; a file whose header cannot be read is in a series of its
    own, which is told when it is read.
    """
    by_series: dict[tuple[int, str], list[Path]] = defaultdict(list)
    empty = []
    for file in files:
        try:
            with reading(file):
                number, uid, image = _belongs(file)
        except ReadError:
            number, uid, image = 0, str(file), True
        if image:
            by_series[number, uid].append(file)
        else:
            empty.append(file)
    counts = Counter(number for number, _ in by_series)
    seen: Counter[int] = Counter()
    series = {}
    for number, uid in sorted(by_series):
        seen[number] += 1
        series[f"{number}.{seen[number]}" if counts[number] > 1 else str(number)] = by_series[number, uid]
    return series, empty


def _belongs(file: Path) -> tuple[int, str, bool]:
    """Number and UID of the series of a file, and True if it holds an image; reads only these attributes."""
    check_deflated(file)
    reader = optional("pydicom.filereader", file)
    with file.open("rb") as stream:
        header = reader.read_partial(stream, stop_when=lambda tag, *_: tag > ROWS, force=True)
    return int(header.get("SeriesNumber") or 0), str(header.get("SeriesInstanceUID", "")), "Rows" in header


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = []
    for file in sorted(file for file in path.iterdir() if file.is_file()):
        with file.open("rb") as bytes_:
            if is_dicom(bytes_.read(132)) and file.name.upper() != INDEX:
                files.append(file)
    return files


def _frames(path: Path) -> list[Frame]:
    """Frames of one file; none for a report, a directory or another object without pixels."""
    with reading(path):
        check_deflated(path)
        # force=True for files without preamble, which were recognised as DICOM before.
        header = optional("pydicom", path).dcmread(path, stop_before_pixels=True, force=True)
        if "Rows" not in header:
            return []
        n_frames = int(header.get("NumberOfFrames") or 1)
        check_claim(path, n_frames, 1, (int(header.Rows), int(header.Columns)), stored_bytes(path))
        if n_frames > FRAMES:
            raise ReadError(f"{path}: claims {n_frames} frames, and a file may have {FRAMES}: cut it in parts")
        if n_frames == 1 and (mosaic := find_mosaic(header)) is not None:
            whole = _frame(path, header, 0)
            return [
                replace(
                    whole,
                    number=(whole.number[0], k),
                    pixels=(*mosaic.shape, *whole.pixels[2:]),
                    place=None if whole.place is None else mosaic.place(whole.place, k),
                    tile=mosaic.tile(k),
                )
                for k in range(mosaic.count)
            ]
        return [_frame(path, header, index) for index in range(n_frames)]


def check_deflated(path: Path) -> None:
    """Raise ReadError for a deflated file, which pydicom would unpack to any size."""
    reader = optional("pydicom.filereader", path)
    with path.open("rb") as file:
        reader.read_preamble(file, force=True)
        meta = reader.read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
    if meta.get("TransferSyntaxUID") == "1.2.840.10008.1.2.1.99":
        raise ReadError(f"{path}: is deflated as a whole: save it without compression, e.g. dcmconv +te")


def _frame(path: Path, header: Any, index: int) -> Frame:
    """Frame from the attributes of a file, or of the functional groups of one of its frames."""
    groups = [
        *(header.get("PerFrameFunctionalGroupsSequence") or [])[index : index + 1],
        *(header.get("SharedFunctionalGroupsSequence") or [])[:1],
    ]
    items = [header, *(part.value[0] for group in groups for part in group if part.VR == "SQ" and part.value)]

    def get(keyword: str, default: Any = None) -> Any:
        return next((item[keyword].value for item in items if item.get(keyword) not in (None, "")), default)

    position, orientation = get("ImagePositionPatient"), get("ImageOrientationPatient")
    place = None
    if position is not None and orientation is not None:
        along_row, along_column = np.asarray(orientation, np.float64).reshape(2, 3)
        between_rows, between_columns = map(float, get("PixelSpacing", (1, 1)))
        between_slices = float(get("SpacingBetweenSlices") or get("SliceThickness") or 1)
        place = np.eye(4)
        place[:3, 0] = along_row * between_columns
        place[:3, 1] = along_column * between_rows
        place[:3, 2] = np.cross(along_row, along_column) * between_slices
        place[:3, 3] = position
    implicit, little = header.original_encoding
    plain = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"
    samples = int(get("SamplesPerPixel", 1))
    return Frame(
        path,
        index,
        (int(get("InstanceNumber", 0)), index),
        str(get("SeriesInstanceUID", "")),
        str(header.file_meta.get("TransferSyntaxUID", plain)),
        (int(header.Rows), int(header.Columns), samples, str(get("PhotometricInterpretation", "MONOCHROME2"))),
        next((item for item in items if "RescaleSlope" in item), header),
        -1 if get("PixelRepresentation", 0) else 2 ** int(get("BitsStored", 16)) - 1,
        place,
    )


def _arrange(frames: list[Frame]) -> tuple[list[Frame], tuple[int, ...], Float64[np.ndarray, "4 4"]]:
    """Frames in the order of slices, their grid, and the affine; the identity if they form no regular grid in space."""
    frames = sorted(frames, key=lambda frame: frame.number)
    unplaced = frames, (len(frames),), np.eye(4)
    places = [frame.place for frame in frames if frame.place is not None]
    if len(places) < len(frames) or not np.allclose([place[:3, :2] for place in places], places[0][:3, :2], atol=1e-4):
        return unplaced  # no positions, or planes that are not parallel, as in a localiser
    affine = places[0].copy()
    normal = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    heights = defaultdict(list)  # height along the normal, in µm, to the frames there, as a series in time has several
    for frame, place in zip(frames, places, strict=True):
        heights[round(1e3 * float(place[:3, 3] @ normal))].append((frame, place[:3, 3]))
    columns = [heights[height] for height in sorted(heights)]
    n_z, n_t = len(columns), len(columns[0])
    if any(len(column) != n_t for column in columns):
        return unplaced
    first, last = columns[0][0][1], columns[-1][0][1]
    affine[:3, 3] = first
    if n_z > 1:
        affine[:3, 2] = (last - first) / (n_z - 1)
    ordered = [column[t][0] for t in range(n_t) for column in columns]
    return ordered, (n_z, n_t) if n_t > 1 else (n_z,), LPS_TO_RAS @ affine


def _pixels(frame: Frame) -> Shaped[np.ndarray, "..."]:
    pixels = optional("pydicom.pixels", frame.path)
    with reading(frame.path), limited():
        array = pixels.pixel_array(frame.path, index=frame.index, transfer_syntax_uid=frame.syntax)
        if frame.pixels[3] == "MONOCHROME1":  # its lowest value is white
            array = frame.highest - array.astype(np.int64)
        array = pixels.apply_rescale(array, frame.rescale)
        if frame.tile is not None:
            (row, column), (height, width) = frame.tile, frame.pixels[:2]
            array = array[row : row + height, column : column + width]
    return np.moveaxis(array, -1, 0) if array.ndim == 3 else array
