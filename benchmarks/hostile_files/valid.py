"""Small valid files of every format."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import ismrmrd
import nibabel
import numpy as np
import pydicom
import pydicom.data
from PIL import Image

RNG = np.random.default_rng(0)
SIDE = 64
STACK = RNG.uniform(1, 200, (2, SIDE, SIDE)).astype(np.float32)
LEVELS = STACK.astype(np.uint8)
KSPACE = (RNG.normal(size=(2, 2, 16, 12)) + 1j * RNG.normal(size=(2, 2, 16, 12))).astype(np.complex64)
XML = (
    '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding><trajectory>cartesian'
    "</trajectory><encodedSpace><matrixSize><x>16</x><y>{y}</y><z>{z}</z></matrixSize></encodedSpace>"
    "<encodingLimits/></encoding></ismrmrdHeader>"
)
ROW = "{name},{index},50,rms,qf-mri,0.5,automatic,0,700,0.1,,,0.1.0\n"
HEAD = "input,slice,score,pool,weights,foreground_fraction,foreground,low,high,threshold,jpeg_quality,map,version\n"


def hdf5(path: Path, **arrays) -> Path:
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = array
    return path


def zipped_hdf5(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("reconstruction", data=STACK, chunks=(1, SIDE, SIDE), compression="gzip", shuffle=True)
    return path


def mrd_images(path: Path) -> Path:
    with ismrmrd.Dataset(str(path), "dataset", create_if_needed=True) as dataset:
        dataset.write_xml_header(b"<ismrmrdHeader/>")
        for image in STACK:
            dataset.append_image("image_0", ismrmrd.Image.from_array(image, transpose=False))
    return path


def mrd_lines(path: Path, y: int = 12, z: int = 1, xml: str = XML) -> Path:
    with ismrmrd.Dataset(str(path), "dataset", create_if_needed=True) as dataset:
        dataset.write_xml_header(xml.format(y=y, z=z).encode())
        for k in range(12):
            acquisition = ismrmrd.Acquisition.from_array(KSPACE[0, :, :, k].copy())
            acquisition.idx.kspace_encode_step_1 = k
            dataset.append_acquisition(acquisition)
    return path


def bart(path: Path, values: np.ndarray, dims: str = "") -> Path:
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{dims or ' '.join(map(str, values.shape))}\n")
    path.with_suffix(".cfl").write_bytes(values.astype("<c8").tobytes(order="F"))
    return path.with_suffix(".cfl")


def nifti(path: Path, kind=nibabel.Nifti1Image) -> Path:
    nibabel.save(kind(STACK.T, np.diag([2.0, 3.0, 4.0, 1.0])), path)
    return path


def numpy_file(path: Path, array: np.ndarray = STACK) -> Path:
    np.save(path, array)
    return path


def archive(path: Path) -> Path:
    np.savez_compressed(path, images=STACK)
    return path


def picture(path: Path, array: np.ndarray = LEVELS[0], **options) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def tiff(path: Path, **options) -> Path:
    first, *others = [Image.fromarray(page) for page in LEVELS]
    first.save(path, save_all=True, append_images=others, **options)
    return path


def dicom(path: Path, source: str = "MR_small.dcm", **attributes) -> Path:
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file(source))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about values that no DICOM may have
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
    return path


def table(path: Path, name: str = "a.npy") -> Path:
    path.write_text(HEAD + "".join(ROW.format(name=name, index=k) for k in range(3)))
    return path


def table_json(path: Path) -> Path:
    keys = HEAD.strip().split(",")
    rows = [dict(zip(keys, ROW.format(name="a.npy", index=k).strip().split(","), strict=True)) for k in range(3)]
    path.write_text(json.dumps(rows))
    return path


def part(path: Path) -> Path:
    """Part of a dataset of scores, in a folder of its own."""
    from mriqf.batch import Dataset

    dataset = Dataset(path.with_suffix(""), "0" * 16)
    name = f"{'0' * 32}-{'0' * 16}-{'0' * 16}.parquet"
    dataset.write(name, [{"input": "a.npy", "slice": k, "score": 50.0, "pool": "rms", "low": 0.0} for k in range(3)])
    return dataset.folder / name


def manifest(path: Path) -> Path:
    path.write_text('name = "a"\n[[source]]\npath = "a.npz"\nsplit = "train"\nsubjects = [0, 1]\nsha256 = "00"\n')
    return path


def shipped(name: str) -> Callable[[Path], Path]:
    """Maker of a copy of a file that comes with the package."""

    def copy(path: Path) -> Path:
        import mriqf

        return Path(shutil.copyfile(Path(mriqf.__file__).parent / "pretrained" / name, path))

    return copy


IMAGES: dict[str, Callable[[Path], Path]] = {
    "fastmri.h5": lambda path: hdf5(path, reconstruction_rss=STACK),
    "zipped.h5": zipped_hdf5,
    "mrd.h5": mrd_images,
    "one.nii": nifti,
    "two.nii": lambda path: nifti(path, nibabel.Nifti2Image),
    "one.nii.gz": nifti,
    "plain.npy": numpy_file,
    "zipped.npz": archive,
    "grey.png": picture,
    "grey.jpg": picture,
    "grey.webp": picture,
    "pages.tif": tiff,
    "zipped.tif": lambda path: tiff(path, compression="tiff_deflate"),
    "mr.dcm": dicom,
    "rle.dcm": lambda path: dicom(path, "MR_small_RLE.dcm"),
    "jpeg.dcm": lambda path: dicom(path, "SC_rgb_jpeg_dcmtk.dcm"),
    "deflated.dcm": lambda path: Path(shutil.copyfile(pydicom.data.get_testdata_file("image_dfl.dcm"), path)),
    "pair.cfl": lambda path: bart(path, STACK.transpose(1, 2, 0)),
}
RAW: dict[str, Callable[[Path], Path]] = {
    "kspace.h5": lambda path: hdf5(path, kspace=KSPACE, mask=np.ones(12, bool)),
    "lines.h5": mrd_lines,
    "kspace.npy": lambda path: numpy_file(path, KSPACE),
    "kspace.cfl": lambda path: bart(path, KSPACE[0].transpose(1, 2, 0)[:, :, None]),
}
OTHERS: dict[str, Callable[[Path], Path]] = {
    "coded.jpg": picture,
    "scores.csv": table,
    "scores.json": table_json,
    "part.parquet": part,
    "manifest.toml": manifest,
    "weights.safetensors": shipped("qf-gray-cui-fov11.safetensors"),
    "weights.calibration.json": shipped("qf-mri.calibration.json"),
}

COMMANDS = dict.fromkeys(IMAGES, "score") | dict.fromkeys(RAW, "recon")
COMMANDS |= {"coded.jpg": "restore", "scores.csv": "report", "scores.json": "report", "part.parquet": "dataset"}
COMMANDS |= {"manifest.toml": "manifest", "weights.safetensors": "weights", "weights.calibration.json": "calibration"}
"""Command that reads each file."""
