"""Quality maps over the anatomy, in any viewer of NIfTI files.

`mriqf score scan.nii.gz --map-dir maps` writes maps of the scan's shape and affine: open the scan, and the map as a
second layer. Two things differ between viewers. A file can place its voxels twice, by a "qform" and an "sform"; where
the scan's two say different things, or it has neither, some viewers show a map, which has an sform alone, elsewhere
than the scan. And each viewer chooses the range of colours itself. `lay_over` settles both.

Images of other formats have no such header: `mriqf.write_map` writes them as NIfTI, too.

>>> from mriqf.adapters.nifti import lay_over  # doctest: +SKIP
>>> lay_over("maps/scan_quality.nii.gz", "scan.nii.gz", "over.nii.gz")  # doctest: +SKIP
>>> volume = mriqf.read("recon.h5")  # doctest: +SKIP
>>> images = (volume.read_slice(k)[0] for k in range(volume.n_slices))  # doctest: +SKIP
>>> mriqf.write_map("recon.nii.gz", volume, images)  # doctest: +SKIP
"""

from pathlib import Path
from typing import Any

import numpy as np

from mriqf.io import ReadError, atomic_path, read
from mriqf.io.volume import reading

PLACE = (
    "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
)  # fmt: skip
"""Fields of a NIfTI header that say where voxels lie; others may say whose they are, and are left behind."""


def lay_over(quality: str | Path, anatomy: str | Path, out: str | Path, *, force: bool = False) -> Path:
    """Write a copy of a quality map that lies exactly where its image does, to be shown in colours from 0 to 100.

    Parameters
    ----------
    quality
        Map by `mriqf score --map-dir` or `mriqf.write_map`.
    anatomy
        NIfTI file that the map is of.
    out
        File to write, ending in ``.nii`` or ``.nii.gz``.
    force
        Replace an existing file.

    Returns
    -------
    The file that was written.

    Raises
    ------
    ReadError
        If one of the files is not NIfTI, or the map has another shape than the image; if nibabel is not installed.
    FileExistsError
        If the file exists and `force` is not given.
    """
    out = Path(out)
    if not out.name.endswith((".nii", ".nii.gz")):
        raise ReadError(f"{out}: maps are written as NIfTI: choose a name that ends in .nii or .nii.gz")
    sizes = [(*volume.shape[::-1], *volume.grid) for volume in (read(quality), read(anatomy))]
    if sizes[0] != sizes[1]:
        raise ReadError(f"{quality}: map is {sizes[0]}, {anatomy} {sizes[1]}: give the image that it is of")
    import nibabel

    with reading(anatomy):
        image: Any = nibabel.load(anatomy)
    with reading(quality):
        shown: Any = nibabel.load(quality)
        values = np.asarray(shown.dataobj, np.float32).reshape(image.shape)
    kind = nibabel.Nifti2Image if isinstance(image.header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    header = kind.header_class()
    header.set_data_dtype(np.float32)
    header.set_data_shape(image.shape)
    for field in PLACE:
        header[field] = image.header[field]
    header["cal_min"], header["cal_max"] = 0, 100
    with atomic_path(out, force) as temporary:
        nibabel.save(kind(values, None, header), temporary)
    return out
