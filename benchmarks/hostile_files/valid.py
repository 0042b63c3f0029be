"""Small valid files of every format, ways to damage them, and files made to do harm."""

import gzip
import io
import json
import os
import pickle
import shutil
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import ismrmrd
import nibabel
import numpy as np
import pydicom
import pydicom.data
import torch
from PIL import Image
from safetensors.torch import save_file

from mriqf import weights
from mriqf.calibration import file as calibration_file
from mriqf.html import read_scores
from mriqf.io import read, read_kspace
from mriqf.io.jpeg_file import read_jpeg
from mriqf.training.manifest import read_manifest

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
        warnings.simplefilter("ignore")  # of values that no DICOM may have
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


def damage(kind: str, whole: bytes, rng: np.random.Generator) -> bytes:
    """The bytes cut short anywhere, with bits flipped, or with a span overwritten; half of the harm is in the head."""
    end = len(whole) if rng.random() < 0.5 else min(len(whole), 600)
    if kind == "truncated":
        return whole[: int(rng.integers(end))]
    changed = np.frombuffer(whole, np.uint8).copy()
    if kind == "bits flipped":
        np.bitwise_xor.at(changed, rng.integers(0, end, 8), (1 << rng.integers(0, 8, 8)).astype(np.uint8))
    else:
        start, n = int(rng.integers(end)), int(rng.integers(1, 64))
        new = [rng.integers(0, 256, n), np.full(n, 255), np.zeros(n)][int(rng.integers(3))].astype(np.uint8)
        changed[start : start + n] = new[: len(changed) - start]
    return changed.tobytes()


DAMAGES = ("truncated", "bits flipped", "span overwritten")


# Files made to do harm. Each maker gets a folder and gives the path to read.


def _nifti_header(folder: Path, dims: list[int], name: str = "huge.nii", body: int = 0, **fields) -> Path:
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype("<f4")
    header["dim"] = [len(dims), *dims, *[1] * (7 - len(dims))]
    header["vox_offset"] = 352
    for key, value in fields.items():
        header[key] = value
    with gzip.open(folder / name, "wb", 1) if name.endswith("gz") else (folder / name).open("wb") as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(0, body, 2**20):
            file.write(bytes(min(body, 2**20)))
    return folder / name


def _npy_header(folder: Path, shape: str, dtype: str = "<f4") -> Path:
    head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    (folder / "huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(64))
    return folder / "huge.npy"


def _png(folder: Path, width: int, height: int, rows: int = 0) -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packed = zlib.compressobj(9)
    data = b"".join(packed.compress(bytes(width + 1)) for _ in range(rows)) + packed.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    (folder / "huge.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    return folder / "huge.png"


def _tiff_header(folder: Path, entries: list[tuple[int, int, int]], following: int = 0) -> Path:
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(entries))
    (folder / "huge.tif").write_bytes(
        b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", following) + bytes(4096)
    )
    return folder / "huge.tif"


def _many_pages(folder: Path, n: int) -> Path:
    page = [(256, 4, 8), (257, 4, 8), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 4, 8), (279, 4, 64)]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in page)
    size = 2 + len(body) + 4
    pages = (struct.pack("<H", len(page)) + body + struct.pack("<I", 8 + (k + 1) * size) for k in range(n - 1))
    (folder / "many.tif").write_bytes(
        b"II*\0" + struct.pack("<I", 8) + b"".join(pages) + struct.pack("<H", len(page)) + body + bytes(4)
    )
    return folder / "many.tif"


def _resized(folder: Path, kind: str, width: int, height: int) -> Path:
    """A small picture whose header says that it is large."""
    path = picture(folder / f"huge.{kind}")
    data = bytearray(path.read_bytes())
    if kind == "jpg":
        place = data.index(b"\xff\xc0") + 5
        data[place : place + 4] = struct.pack(">HH", height, width)
    else:  # lossy WebP
        place = data.index(b"\x9d\x01\x2a") + 3
        data[place : place + 4] = struct.pack("<HH", width, height)
    path.write_bytes(data)
    return path


def _scans(folder: Path, n: int) -> Path:
    """A progressive JPEG whose last scan is repeated."""
    path = picture(folder / "scans.jpg", np.tile(LEVELS[0], (8, 8)), progressive=True)
    data = path.read_bytes()
    last = data.rindex(b"\xff\xda")
    path.write_bytes(data[:-2] + data[last:-2] * n + data[-2:])
    return path


def _unwritten(folder: Path, shape: tuple[int, ...], **options) -> Path:
    with h5py.File(folder / "unwritten.h5", "w") as file:
        file.create_dataset("reconstruction", shape, "f4", **options)
    return folder / "unwritten.h5"


def _packed_chunk(folder: Path, chunk: tuple[int, ...], size: int) -> Path:
    """A gzip chunk that unpacks to more than the data set says."""
    with h5py.File(folder / "bomb.h5", "w") as file:
        data = file.create_dataset("reconstruction", (1, *chunk[1:]), "f4", chunks=chunk, compression="gzip")
        data.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(size), 9))
    return folder / "bomb.h5"


def _long(path: Path, items: int) -> Path:
    """Texts and sequences of so many items in an HDF5 file claim 2³¹ instead."""
    whole = bytearray(path.read_bytes())
    heap = struct.pack("<Q", whole.index(b"GCOL"))
    place = whole.find(struct.pack("<I", items) + heap)
    while place >= 0:
        whole[place : place + 4] = struct.pack("<I", 2**31)
        place = whole.find(struct.pack("<I", items) + heap, place + 4)
    path.write_bytes(whole)
    return path


def _sequences(folder: Path, items: int, name: str = "reconstruction", **options) -> Path:
    with h5py.File(folder / "sequences.h5", "w") as file:
        data = file.create_dataset(name, (2, 8, 8), h5py.vlen_dtype(np.float32), **options)
        data[:] = np.ones((2, 8, 8, items), np.float32)
    return _long(folder / "sequences.h5", items)


def _titled(folder: Path, text: str, **attrs) -> Path:
    with h5py.File(hdf5(folder / "titled.h5", kspace=KSPACE, ismrmrd_header=text), "r+") as file:
        file.attrs.update(attrs)
    return _long(folder / "titled.h5", len(text))


def _linked(folder: Path, kind: str) -> Path:
    """HDF5 whose data lie in another file."""
    hdf5(folder / "other.h5", x=STACK)
    os.mkfifo(folder / "pipe")
    with h5py.File(folder / "linked.h5", "w") as file:
        if kind == "link":
            file["reconstruction"] = h5py.ExternalLink(str(folder / "other.h5"), "x")
        elif kind == "pipe":
            file["reconstruction"] = h5py.ExternalLink(str(folder / "pipe"), "x")
        elif kind == "group":
            file["scan"] = h5py.ExternalLink(str(folder / "pipe"), "x")
        elif kind == "virtual":
            layout = h5py.VirtualLayout(STACK.shape, "f4")
            layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", STACK.shape)
            file.create_virtual_dataset("reconstruction", layout)
        else:
            (folder / "secret").write_bytes(bytes(STACK.nbytes))
            file.create_dataset(
                "reconstruction", STACK.shape, "f4", external=[(str(folder / "secret"), 0, STACK.nbytes)]
            )
    return folder / "linked.h5"


def _keys(folder: Path, *keys: str) -> Path:
    return hdf5(folder / "keys.h5", **dict.fromkeys(keys, np.zeros(3)))


def _zip_bomb(folder: Path, shape: tuple[int, ...]) -> Path:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with (
        zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as packed,
        packed.open("images.npy", "w", force_zip64=True) as file,
    ):
        file.write(head.getvalue())
        left = 4 * int(np.prod(shape, dtype=np.int64))
        while left > 0:
            file.write(bytes(min(left, 2**24)))
            left -= 2**24
    return folder / "bomb.npz"


def _deflated_dicom(folder: Path, size: int) -> Path:
    plain = Path(pydicom.data.get_testdata_file("image_dfl.dcm")).read_bytes()
    start = 132 + 12 + int.from_bytes(plain[140:144], "little")
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    inside = zlib.decompress(plain[start:], -15)
    data = packed.compress(inside[:-8])
    data += b"".join(packed.compress(bytes(2**20)) for _ in range(0, size, 2**20)) + packed.flush()
    (folder / "bomb.dcm").write_bytes(plain[:start] + data)
    return folder / "bomb.dcm"


def _jpeg_in_dicom(folder: Path, width: int, height: int) -> Path:
    coded = _resized(folder, "jpg", width, height).read_bytes()
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file("SC_rgb_jpeg_dcmtk.dcm"))
    dataset.PixelData = pydicom.encaps.encapsulate([coded])
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.save_as(folder / "jpeg.dcm")
    return folder / "jpeg.dcm"


def _pickled(folder: Path) -> Path:
    np.save(folder / "a.npy", np.array([{"a": 1}, Trap()], object), allow_pickle=True)
    return folder / "a.npy"


class Trap:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("unpickled"),))


def _pipe(folder: Path, name: str) -> Path:
    os.mkfifo(folder / name)
    return folder / name


def _link(folder: Path, target: str, name: str = "link.nii") -> Path:
    (folder / name).symlink_to(target)
    return folder / name


def _sparse(head: Path, size: int) -> Path:
    os.truncate(head, size)
    return head


def _named(folder: Path, name: str) -> Path:
    return numpy_file(folder / name)


def _weights(folder: Path, metadata: dict[str, str] | None, **tensors) -> Path:
    save_file(tensors or {"a": torch.zeros(3)}, folder / "a.safetensors", metadata)
    return folder / "a.safetensors"


def _card(folder: Path, card: object, **tensors) -> Path:
    return _weights(
        folder, {"format": "mriqf-1", "card": card if isinstance(card, str) else json.dumps(card)}, **tensors
    )


def _text(folder: Path, name: str, text: str | bytes) -> Path:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / name


def _page(width: int, height: int, count: int) -> list[tuple[int, int, int]]:
    return [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (279, 4, count)]


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("abcdefghi", "bcdefghij", strict=True))
    + "]><ismrmrdHeader><encoding><trajectory>&j;</trajectory></encoding></ismrmrdHeader>"
)
DEEP = "[" * 100_000

# Kind, the command that reads it, and the maker.
CRAFTED: list[tuple[str, str, Callable[[Path], Path]]] = [
    ("huge header", "score", lambda f: _nifti_header(f, [32767] * 7)),
    ("huge header", "score", lambda f: _nifti_header(f, [32767] * 3)),
    ("huge header", "score", lambda f: _nifti_header(f, [64, 64, 32767, 32767, 32767, 32767, 32767])),
    ("huge header", "score", lambda f: _nifti_header(f, [-5, 64, 2])),
    ("huge header", "score", lambda f: _nifti_header(f, [0, 0, 0])),
    ("huge header", "score", lambda f: _nifti_header(f, [64, 64, 2], vox_offset=1e30)),
    ("huge header", "score", lambda f: _nifti_header(f, [64, 64, 2], vox_offset=-1e9)),
    ("huge header", "score", lambda f: _nifti_header(f, [64, 64, 2], body=40_000, scl_slope=np.inf, scl_inter=np.nan)),
    ("huge header", "score", lambda f: _nifti_header(f, [64, 64, 2], body=40_000, sform_code=1, srow_x=[np.nan] * 4)),
    ("huge header", "score", lambda f: _npy_header(f, "(1000000000000,)")),
    ("huge header", "score", lambda f: _npy_header(f, "(1000000, 1000000)")),
    ("huge header", "score", lambda f: _npy_header(f, "(4, 9223372036854775807, 9223372036854775807)")),
    ("huge header", "score", lambda f: _npy_header(f, "(2, -8, 8)")),
    ("huge header", "score", lambda f: _npy_header(f, "(100000000, 64, 64)", "|V0")),
    ("huge header", "score", lambda f: _npy_header(f, "(0, 64, 64)")),
    ("huge header", "score", lambda f: _png(f, 60_000, 60_000)),
    ("huge header", "score", lambda f: _png(f, 2**31 - 1, 2**31 - 1)),
    ("huge header", "score", lambda f: _tiff_header(f, _page(60_000, 60_000, 64))),
    ("huge header", "score", lambda f: _tiff_header(f, _page(2**32 - 1, 2**32 - 1, 2**32 - 1))),
    ("huge header", "score", lambda f: _resized(f, "jpg", 65_500, 65_500)),
    ("huge header", "score", lambda f: _resized(f, "jpg", 9000, 9000)),
    ("huge header", "score", lambda f: _resized(f, "webp", 16_383, 16_383)),
    ("huge header", "restore", lambda f: _resized(f, "jpg", 65_500, 65_500)),
    ("huge header", "restore", lambda f: _resized(f, "jpg", 5000, 5000)),
    ("huge header", "score", lambda f: _unwritten(f, (10, 60_000, 60_000))),
    ("huge header", "score", lambda f: _unwritten(f, (10**9, 64, 64), chunks=(1, 64, 64))),
    ("huge header", "score", lambda f: _unwritten(f, (10**6, 10**6, 10**6), chunks=(1, 64, 64))),
    ("huge header", "score", lambda f: _unwritten(f, (2**16, 64, 64), chunks=(1, 64, 64), fillvalue=3.0)),
    ("huge header", "recon", lambda f: mrd_lines(f / "a.h5", y=2_000_000_000)),
    ("huge header", "recon", lambda f: mrd_lines(f / "a.h5", y=30_000)),
    ("huge header", "recon", lambda f: _long(mrd_lines(f / "a.h5"), 64)),
    ("huge header", "recon", lambda f: _long(mrd_lines(f / "a.h5"), len(XML.format(y=12, z=1)))),
    ("huge header", "recon", lambda f: _titled(f, "a" * 64)),
    ("huge header", "recon", lambda f: _titled(f, "a" * 64, max="b" * 64, norm=1.0)),
    ("huge header", "recon", lambda f: _sequences(f, 64, "kspace")),
    ("huge header", "score", lambda f: _sequences(f, 64)),
    ("huge header", "score", lambda f: _sequences(f, 64, chunks=(1, 8, 8))),
    ("huge header", "score", lambda f: _sequences(f, 64, compression="gzip")),
    ("huge header", "recon", lambda f: mrd_lines(f / "a.h5", z=2_000_000_000)),
    ("huge header", "recon", lambda f: mrd_lines(f / "a.h5", z=60_000)),
    ("huge header", "recon", lambda f: mrd_lines(f / "a.h5", y=-1)),
    ("huge header", "score", lambda f: dicom(f / "a.dcm", Rows=65535, Columns=65535, NumberOfFrames="100000")),
    ("huge header", "score", lambda f: dicom(f / "a.dcm", NumberOfFrames="2147483647")),
    ("huge header", "score", lambda f: dicom(f / "a.dcm", Rows=8, Columns=8, NumberOfFrames="1000000")),
    ("huge header", "score", lambda f: dicom(f / "a.dcm", Rows=0, Columns=0)),
    ("huge header", "score", lambda f: dicom(f / "a.dcm", NumberOfFrames="-3")),
    ("huge header", "score", lambda f: bart(f / "a", np.zeros(4), " ".join(["100000"] * 16))),
    ("huge header", "recon", lambda f: bart(f / "a", np.zeros(4), " ".join(["100000"] * 16))),
    ("huge header", "score", lambda f: bart(f / "a", np.zeros(4), "9" * 5000)),
    ("huge header", "score", lambda f: bart(f / "a", np.zeros(4), "-2 -2")),
    ("bomb", "score", lambda f: _png(f, 5000, 5000, 5000)),
    ("bomb", "score", lambda f: _png(f, 5700, 5700, 5700)),
    ("bomb", "score", lambda f: _png(f, 13_000, 13_000, 2000)),
    ("bomb", "score", lambda f: _nifti_header(f, [1024, 1024, 140], "bomb.nii.gz", 600 * 2**20)),
    ("bomb", "score", lambda f: _nifti_header(f, [5700, 5700, 2], "bomb.nii.gz", 250 * 2**20)),
    ("bomb", "score", lambda f: _nifti_header(f, [64, 64, 2], "bomb.nii.gz", 2**27, vox_offset=2**30)),
    ("bomb", "score", lambda f: _unwritten(f, (4, 5700, 5700), chunks=(1, 5700, 5700), compression="gzip")),
    ("bomb", "score", lambda f: _packed_chunk(f, (1, 64, 64), 2**29)),
    ("bomb", "score", lambda f: _packed_chunk(f, (1, 8000, 8000), 2**28)),
    ("bomb", "score", lambda f: _packed_chunk(f, (1, 5000, 5000), 10**8)),
    ("bomb", "score", lambda f: _zip_bomb(f, (1024, 512, 512))),
    ("bomb", "score", lambda f: _zip_bomb(f, (100, 1024, 1024))),
    ("bomb", "score", lambda f: _deflated_dicom(f, 2**28)),
    ("bomb", "score", lambda f: _jpeg_in_dicom(f, 13_000, 13_000)),
    ("bomb", "score", lambda f: _jpeg_in_dicom(f, 6000, 6000)),
    ("bomb", "score", lambda f: _scans(f, 2000)),
    ("bomb", "restore", lambda f: _scans(f, 2000)),
    ("bomb", "score", lambda f: _many_pages(f, 2**16)),
    ("bomb", "recon", lambda f: mrd_lines(f / "a.h5", xml=LAUGHS.replace("{", "{{").replace("}", "}}"))),
    ("sparse", "score", lambda f: _sparse(_nifti_header(f, [32767, 32767, 100]), 2**40)),
    ("sparse", "score", lambda f: _sparse(_nifti_header(f, [64, 64, 32767, 100]), 2**40)),
    ("sparse", "score", lambda f: _sparse(_npy_header(f, "(1000000, 100000)"), 2**40)),
    ("sparse", "score", lambda f: _sparse(_npy_header(f, "(1000000000, 8, 8)"), 2**40)),
    ("sparse", "score", lambda f: _sparse(_npy_header(f, "(2000, 4096, 4096)"), 2**40)),
    ("sparse", "report", lambda f: _sparse(table(f / "s.csv"), 2**36)),
    ("sparse", "report", lambda f: _sparse(table_json(f / "s.json"), 2**36)),
    ("sparse", "manifest", lambda f: _sparse(manifest(f / "m.toml"), 2**36)),
    ("sparse", "calibration", lambda f: _sparse(_text(f, "c.json", "{"), 2**36)),
    ("sparse", "weights", lambda f: _sparse(_card(f, {"config": {}}), 2**36)),
    ("sparse", "restore", lambda f: _sparse(_text(f, "a.jpg", b"\xff\xd8" + b"\xff" * 999), 2**36)),
    ("link", "score", lambda f: _link(f, "link.nii")),
    ("link", "score", lambda f: _link(f, "nowhere")),
    ("link", "score", lambda f: _link(f, "/dev/zero")),
    ("link", "score", lambda f: _link(f, "/dev/urandom", "link.cfl")),
    ("link", "score", lambda f: _link(f, ".")),
    ("link", "recon", lambda f: _link(f, "/dev/zero")),
    ("link", "report", lambda f: _link(f, "/dev/zero", "s.csv")),
    ("link", "restore", lambda f: _link(f, "/dev/zero", "a.jpg")),
    ("link", "weights", lambda f: _link(f, "/dev/zero", "a.safetensors")),
    ("link", "calibration", lambda f: _link(f, "/dev/zero", "a.json")),
    ("link", "manifest", lambda f: _link(f, "/dev/zero", "a.toml")),
    *[("pipe", command, lambda f, name=name: _pipe(f, name)) for command, name in (
        ("score", "a.nii"), ("score", "a.cfl"), ("recon", "a.h5"), ("report", "a.csv"), ("restore", "a.jpg"),
        ("weights", "a.safetensors"), ("calibration", "a.json"), ("manifest", "a.toml"))],
    *[("other file", "score", lambda f, kind=kind: _linked(f, kind))
      for kind in ("link", "pipe", "group", "virtual", "external")],
    ("name", "score", lambda f: _keys(f, "a\nerror: b", "\x1b[2J", "../../x")),
    ("name", "score", lambda f: _keys(f, *(f"key {k} {'x' * 200}" for k in range(500)))),
    ("name", "recon", lambda f: _keys(f, "a\nb", "\x1b]0;x\x07")),
    ("name", "score", lambda f: dicom(f / "a.dcm", SeriesDescription="../../../x", SeriesInstanceUID="../../x")),
    ("name", "score", lambda f: dicom(f / "a.dcm", PhotometricInterpretation="\x1b[2JX", SamplesPerPixel=2)),
    *[("name", "score", lambda f, name=name: _named(f, name)) for name in (
        "\x1b[2J.npy", "a\nb.npy", "a\tb.npy", "=cmd|' C calc'!A0.npy", "-a.npy", "é\u202e\u2028.npy", "<script>.npy",
        os.fsdecode(b"\xff\xfe.npy"), "x" * 250 + ".npy")],
    ("name", "score", lambda f: f / ("x" * 5000)),
    ("name", "report", lambda f: table(f / "s.csv", "x" * 5000)),
    ("name", "report", lambda f: table(f / "s.csv", "a\0b\x1b")),
    ("name", "report", lambda f: table(f / "s.csv", "/dev/zero")),
    ("name", "report", lambda f: table(f / "s.csv", str(_pipe(f, "p.npy")))),
    ("values", "score", lambda f: numpy_file(f / "a.npy", np.full((2, 64, 64), np.nan, np.float32))),
    ("values", "score", lambda f: numpy_file(f / "a.npy", np.where(STACK > 100, np.inf, STACK).astype(np.float32))),
    ("values", "score", lambda f: numpy_file(f / "a.npy", -STACK)),
    ("values", "score", lambda f: numpy_file(f / "a.npy", (STACK * 1.7e36).astype(np.float32))),
    ("values", "score", lambda f: numpy_file(f / "a.npy", STACK.astype(np.float64) * 1e300)),
    ("values", "score", lambda f: numpy_file(f / "a.npy", (STACK * 1e-44).astype(np.float32))),
    ("values", "score", lambda f: numpy_file(f / "a.npy", np.zeros((2, 64, 64), np.float32))),
    ("values", "score", lambda f: numpy_file(f / "a.npy", np.zeros((0, 64, 64), np.float32))),
    ("values", "score", lambda f: numpy_file(f / "a.npy", STACK.astype("M8[s]"))),
    ("values", "recon", lambda f: numpy_file(f / "a.npy", np.full((2, 16, 12), np.nan, np.complex64))),
    ("values", "recon", lambda f: numpy_file(f / "a.npy", KSPACE[0] * np.float32(1e37))),
    ("pickle", "score", _pickled),
    ("pickle", "score", lambda f: _text(f, "a.npy", pickle.dumps(Trap()))),
    ("pickle", "recon", _pickled),
    *[("weights card", "weights", lambda f, card=card: _card(f, card)) for card in (
        "{", "[]", "null", "3", '"text"', DEEP, "{}", {"config": None}, {"config": []}, {"config": {"width": 10**9}},
        {"config": {"width": 4096}}, {"config": {"width": -1}}, {"config": {"width": 0}}, {"config": {"width": 1e308}},
        {"config": {"width": True}}, {"config": {"width": "64"}}, '{"config": {"width": NaN}}',
        {"config": {"width": 10**400}}, {"network": ["qf"]}, {"network": "os.system", "config": {}},
        {"network": "error", "config": {"widths": [4096] * 3}}, {"network": "error", "config": {"depths": [4096] * 2}},
        {"network": "error", "config": {"widths": [64] * 4000}}, {"network": "modl", "config": {"layers": 10**8}},
        {"network": "modl", "config": {"layers": 4096, "features": 4096}}, {"network": "qgac", "config": {}},
        {"config": {"__class__": "x"}}, {"config": {"arch": {"a": 1}}})],
    ("weights card", "weights", lambda f: _weights(f, None)),
    ("weights card", "weights", lambda f: _weights(f, {"format": "mriqf-1"})),
    ("weights card", "weights", lambda f: _text(f, "a.safetensors", struct.pack("<Q", 2**62) + b"{}")),
    ("weights card", "weights", lambda f: _text(f, "a.safetensors", struct.pack("<Q", 100_000) + DEEP.encode())),
    *[("text", "calibration", lambda f, text=text: _text(f, "c.json", text))
      for text in ("", "{", "[]", "null", DEEP, '{"format": "mriqf-calibration-1"}', "\0" * 999, b"\xff\xfe")],
    *[("text", "manifest", lambda f, text=text: _text(f, "m.toml", text))
      for text in ("", "{", "source = 3", "name = 1\nsource = [1]", "a = " + DEEP, "\0", b"\xff", "x" * 10**6)],
    *[("text", "report", lambda f, text=text: _text(f, "s.csv", text)) for text in (
        "", "\0", b"\xff\xfe\xfd", HEAD, HEAD + "a" * 10**6 + "\n", HEAD + '"' + "a,\n" * 10**5, "," * 10**6,
        *(HEAD + ROW.format(name="a", index=index) for index in ("inf", "nan", "1e999", "-1", "9" * 400, "=1+1")),
        HEAD + ROW.format(name="a", index=0).replace("700", "nan"),
        HEAD + ROW.format(name="a", index=0).replace("700", "-1"))],
    *[("text", "report", lambda f, text=text: _text(f, "s.json", text)) for text in (
        "{", "[]", "[1]", DEEP, "[{}]", '[{"input": [1]}]', "1" * 9999)],
]  # fmt: skip


def read_images(path: Path) -> None:
    """Read the first slices of a volume."""
    volume = read(path)
    for index in range(min(volume.n_slices, 3)):
        pixels = volume.read_slice(index)
        assert pixels.shape == (volume.channels, *volume.shape)
        assert np.isfinite(pixels).all()
    assert np.isfinite(volume.affine).all()


def read_raw(path: Path) -> None:
    """Read the first slices of k-space."""
    kspace = read_kspace(path)
    for index in range(min(kspace.n_slices, 3)):
        assert np.isfinite(kspace.read_slice(index)).all()


READERS: dict[str, Callable[[Path], object]] = {
    "score": read_images,
    "recon": read_raw,
    "restore": lambda path: read_jpeg(path, coefficients=False),
    "report": lambda path: read_scores([path]),
    "dataset": lambda path: read_scores([path.parent]),
    "manifest": read_manifest,
    "weights": weights.load,
    "calibration": calibration_file.read,
}
"""Reader of each command."""
