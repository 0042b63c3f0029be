"""Attributes of DICOM headers: class, kind of image, orientation."""

from collections.abc import Sequence
from typing import Any

import numpy as np

COMPLEX = {
    **dict.fromkeys(("P", "PHASE", "PHASE MAP"), "phase"),
    **dict.fromkeys(("R", "REAL"), "the real part"),
    **dict.fromkeys(("I", "IMAGINARY"), "the imaginary part"),
    "MIXED": "magnitude and phase in one",
}
"""Third value of the image type, or complex image component, of images that are not magnitude."""
GE_COMPLEX = {1: "phase", 2: "the real part", 3: "the imaginary part"}
GE_KIND = (0x0043, 0x102F)


def sop_class(header: Any) -> str:
    """SOP class of a file."""
    return str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID", ""))


def orientations(headers: Sequence[Any]) -> list[tuple[float, ...]]:
    """Different orientations of the images of a series, as unit vectors along rows and columns."""
    known: list[np.ndarray] = []
    for header in headers:
        frames = header.get("PerFrameFunctionalGroupsSequence") or [header]
        for frame in frames if len(frames) < 2**12 else frames[:1]:
            value = find_attribute(frame, "ImageOrientationPatient") or find_attribute(
                header, "ImageOrientationPatient"
            )
            if value is not None and len(value) == 6:
                one = np.asarray(value, np.float64)
                if not any(np.allclose(one, other, atol=1e-2) for other in known):
                    known.append(one)
    return [tuple(one.tolist()) for one in known]


def plane_name(orientation: Sequence[float]) -> str:
    """Anatomical plane, and whether it is tilted by more than 5°."""
    normal = np.cross(orientation[:3], orientation[3:])
    axis = int(np.abs(normal).argmax())
    size = float(np.linalg.norm(normal)) or 1.0
    oblique = abs(normal[axis]) < size * np.cos(np.radians(5))
    return ("sagittal", "coronal", "axial")[axis] + (", oblique" if oblique else "")


def component(header: Any) -> str:
    """Component that an image shows instead of magnitude; empty for magnitude."""
    if (kind := header.get(GE_KIND)) is not None and kind.value in GE_COMPLEX:
        return GE_COMPLEX[kind.value]
    named_so = text_of(header, "ComplexImageComponent")
    return COMPLEX.get(named_so) or next((COMPLEX[kind] for kind in image_type(header)[2:] if kind in COMPLEX), "")


def image_type(header: Any) -> tuple[str, ...]:
    """Values of the image type, in capitals."""
    value = header.get("ImageType")
    parts = [value] if isinstance(value, str) else list(value or ())
    return tuple(str(part).upper() for part in parts)


def find_attribute(header: Any, keyword: str) -> Any:
    """Value of an attribute, or of the first functional group that has it."""
    if header.get(keyword) not in (None, ""):
        return header.get(keyword)
    shared, per_frame = (header.get(f"{kind}FunctionalGroupsSequence") or [] for kind in ("Shared", "PerFrame"))
    for group in (header, *shared[:1], *per_frame[:1]):
        for part in group:
            if part.VR == "SQ" and part.value and part.value[0].get(keyword) not in (None, ""):
                return part.value[0].get(keyword)
    return None


def text_of(header: Any, keyword: str) -> str:
    """Attribute as text; empty if it is missing."""
    value = header.get(keyword)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "/".join(map(str, value))
    return "" if value is None else str(value).strip()


def number_of(header: Any, keyword: str) -> float | None:
    """Attribute, or its first value, as a number; None if it is missing or is none."""
    value = find_attribute(header, keyword)
    try:
        return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)
    except (TypeError, ValueError, IndexError):
        return None
