"""Restoration of JPEG images, measured as the papers do it: three protocols whose figures must not be mixed."""

from mriqf.studies.restoration.jpeg_rows import PRINTED, Means, means
from mriqf.studies.restoration.protocols import FBCNN, PROTOCOLS, QGAC, QGCN, Measured, Protocol, Restorer, measure

__all__ = [
    "FBCNN",
    "PRINTED",
    "PROTOCOLS",
    "QGAC",
    "QGCN",
    "Means",
    "Measured",
    "Protocol",
    "Restorer",
    "means",
    "measure",
]
