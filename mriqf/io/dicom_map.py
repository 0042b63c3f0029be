"""Quality maps as DICOM parametric maps, which viewers overlay on their series."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from mriqf.io.atomic import atomic_path
from mriqf.io.dicom import LPS_TO_RAS
from mriqf.io.volume import ReadError, Volume, optional, reading

NAMES = {
    "PatientName": "", "PatientID": "", "PatientBirthDate": "", "PatientSex": "", "StudyID": "", "StudyDate": "",
    "StudyTime": "", "AccessionNumber": "", "ReferringPhysicianName": "",
}  # fmt: skip
"""Attributes of patient and study that a map takes over, and their anonymous values."""


def write_dicom_map(
    path: Path,
    volume: Volume,
    maps: Float32[np.ndarray, "s h w"],
    files: Sequence[Path],
    *,
    limits: tuple[float, float],
    description: str = "",
    identify: bool = False,
    force: bool = False,
) -> Path:
    """Write a map of a series as a DICOM parametric map of 32-bit numbers, in the series' frame of reference.

    Parameters
    ----------
    path
        File to write.
    volume
        Volume of the series: its affine is that of the map.
    maps
        One map for each slice of one time.
    files
        DICOM files of the series. The map belongs to their study and refers to them.
    limits
        Lowest and highest value that viewers are to show.
    description
        Description of the map's series.
    identify
        Take over names, identities and dates of patient and study. Otherwise these are left empty; the unique
        identifiers of study, series and images are there all the same, for without them no viewer could lay the map
        over its images.
    force
        Replace an existing file.

    Raises
    ------
    ReadError
        When the series has no place in space, or lacks what a map must refer to; when highdicom is not installed.
    FileExistsError
        When the file exists and ``force`` is not given.
    """
    if np.array_equal(volume.affine, np.eye(4)):
        raise ReadError(
            f"{volume.source}: has no place in space, so no map can be laid over it in DICOM: use --map-dir"
        )
    try:
        import highdicom
    except ImportError:
        raise ReadError(f"{path}: DICOM maps need highdicom: pip install highdicom") from None
    with reading(volume.source):
        sources = [_source(file, maps.shape[1:], identify) for file in files]
        affine = np.asarray(LPS_TO_RAS @ volume.affine)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        along = affine[:3, :3] / spacing
        geometry = highdicom.PixelMeasuresSequence(
            pixel_spacing=(float(spacing[1]), float(spacing[0])),
            slice_thickness=float(spacing[2]),
            spacing_between_slices=float(spacing[2]),
        )
        places = [
            highdicom.PlanePositionSequence("PATIENT", (affine[:3, 3] + k * affine[:3, 2]).tolist())
            for k in range(len(maps))
        ]
        meaning = highdicom.pm.RealWorldValueMapping(
            lut_label="QUALITY",
            lut_explanation=(description or "quality")[:64],
            unit=highdicom.sr.CodedConcept("1", "UCUM", "no units"),
            value_range=limits,
            slope=1.0,
            intercept=0.0,
        )
        from mriqf import __version__

        parametric_map = highdicom.pm.ParametricMap(
            source_images=sources,
            pixel_array=np.ascontiguousarray(maps, np.float32),
            series_instance_uid=highdicom.UID(),
            series_number=9000 + int(sources[0].get("SeriesNumber") or 0) % 1000,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="mriqf",
            manufacturer_model_name="mriqf",
            software_versions=__version__,
            device_serial_number="0",
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[meaning],
            window_center=sum(limits) / 2,
            window_width=limits[1] - limits[0],
            pixel_measures=geometry,
            plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", along[:, :2].T.ravel().tolist()),
            plane_positions=places,
            content_label="QUALITY",
            series_description=(description or "quality")[:64],
        )
        with atomic_path(path, force) as temporary:
            parametric_map.save_as(temporary)
    return path


def _source(file: Path, shape: tuple[int, ...], identify: bool) -> Any:
    """Header of a source image of the map, anonymous, with the shape of the map."""
    header = optional("pydicom", file).dcmread(file, stop_before_pixels=True, force=True)
    for keyword, empty in NAMES.items():
        if not identify or keyword not in header:
            setattr(header, keyword, empty)
    header.Rows, header.Columns = shape  # for a mosaic, the shape of a tile
    return header
