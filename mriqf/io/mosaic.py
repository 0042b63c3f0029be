"""Mosaics: Siemens scanners store the slices of a volume as tiles of one DICOM image."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

COUNT = (0x0019, 0x100A)  # private attribute: number of tiles with an image
MOST = 1024


@dataclass(frozen=True)
class Mosaic:
    """Layout of the tiles of one image: row by row, in a square."""

    count: int
    side: int
    """Tiles in each row."""
    shape: tuple[int, int]
    """Rows and columns of a tile."""
    upside: int
    """1 where slices follow each other along the normal of rows and columns, −1 where against it."""

    def tile(self, k: int) -> tuple[int, int]:
        """First row and column of a tile."""
        return k // self.side * self.shape[0], k % self.side * self.shape[1]

    def place(self, whole: Float64[np.ndarray, "4 4"], k: int) -> Float64[np.ndarray, "4 4"]:
        """Affine of a tile from that of the image, whose position is that of a first slice as large as the mosaic.

        References
        ----------
        NiBabel, DICOM mosaics, https://nipy.org/nibabel/dicom/dicom_mosaic.html.
        """
        half = (self.side - 1) / 2
        place = whole.copy()
        place[:3, 3] += place[:3, 0] * half * self.shape[1] + place[:3, 1] * half * self.shape[0]
        place[:3, 3] += self.upside * k * place[:3, 2]
        return place


def find_mosaic(header: Any) -> Mosaic | None:
    """Mosaic layout of a DICOM image by its header; None for other images, and if the number of tiles is unknown."""
    if "MOSAIC" not in (header.get("ImageType") or ()):
        return None
    from nibabel.nicom import csareader

    csa = csareader.get_csa_header(header, "image")
    count = csareader.get_n_mosaic(csa) if csa else None
    if count is None:
        count = header[COUNT].value if COUNT in header else 0
        count = int.from_bytes(count, "little") if isinstance(count, bytes) else int(count or 0)
    side = math.ceil(math.sqrt(max(count, 0)))
    rows, columns = int(header.Rows), int(header.Columns)
    if not 0 < count <= MOST or rows % side or columns % side:
        return None
    upside = 1
    normal, orientation = csareader.get_slice_normal(csa) if csa else None, header.get("ImageOrientationPatient")
    if normal is not None and orientation is not None:
        along_row, along_column = np.asarray(orientation, np.float64).reshape(2, 3)
        upside = 1 if np.cross(along_row, along_column) @ np.asarray(normal, np.float64) >= 0 else -1
    return Mosaic(count, side, (rows // side, columns // side), upside)
