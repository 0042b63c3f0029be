"""Makers of files made to do harm: each gets a folder and gives the path to read."""

import gzip
import io
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pydicom
import pydicom.data
import torch
from safetensors.torch import save_file

from benchmarks.hostile_files.valid import KSPACE, LEVELS, STACK, hdf5, numpy_file, picture


def nifti_header(folder: Path, dims: list[int], name: str = "huge.nii", body: int = 0, **fields) -> Path:
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


def npy_header(folder: Path, shape: str, dtype: str = "<f4") -> Path:
    head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    (folder / "huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(64))
    return folder / "huge.npy"


def png(folder: Path, width: int, height: int, rows: int = 0) -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packed = zlib.compressobj(9)
    data = b"".join(packed.compress(bytes(width + 1)) for _ in range(rows)) + packed.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    (folder / "huge.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    return folder / "huge.png"


def tiff_header(folder: Path, entries: list[tuple[int, int, int]], following: int = 0) -> Path:
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(entries))
    (folder / "huge.tif").write_bytes(
        b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", following) + bytes(4096)
    )
    return folder / "huge.tif"


def many_pages(folder: Path, n: int) -> Path:
    page = [(256, 4, 8), (257, 4, 8), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 4, 8), (279, 4, 64)]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in page)
    size = 2 + len(body) + 4
    pages = (struct.pack("<H", len(page)) + body + struct.pack("<I", 8 + (k + 1) * size) for k in range(n - 1))
    (folder / "many.tif").write_bytes(
        b"II*\0" + struct.pack("<I", 8) + b"".join(pages) + struct.pack("<H", len(page)) + body + bytes(4)
    )
    return folder / "many.tif"


def resized(folder: Path, kind: str, width: int, height: int) -> Path:
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


def many_scans(folder: Path, n: int) -> Path:
    """A progressive JPEG whose last scan is repeated."""
    path = picture(folder / "scans.jpg", np.tile(LEVELS[0], (8, 8)), progressive=True)
    data = path.read_bytes()
    last = data.rindex(b"\xff\xda")
    path.write_bytes(data[:-2] + data[last:-2] * n + data[-2:])
    return path


def unwritten(folder: Path, shape: tuple[int, ...], **options) -> Path:
    with h5py.File(folder / "unwritten.h5", "w") as file:
        file.create_dataset("reconstruction", shape, "f4", **options)
    return folder / "unwritten.h5"


def packed_chunk(folder: Path, chunk: tuple[int, ...], size: int) -> Path:
    """A gzip chunk that unpacks to more than the data set says."""
    with h5py.File(folder / "bomb.h5", "w") as file:
        data = file.create_dataset("reconstruction", (1, *chunk[1:]), "f4", chunks=chunk, compression="gzip")
        data.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(size), 9))
    return folder / "bomb.h5"


def overlong(path: Path, items: int) -> Path:
    """Texts and sequences of so many items in an HDF5 file claim 2³¹ instead."""
    whole = bytearray(path.read_bytes())
    heap = struct.pack("<Q", whole.index(b"GCOL"))
    place = whole.find(struct.pack("<I", items) + heap)
    while place >= 0:
        whole[place : place + 4] = struct.pack("<I", 2**31)
        place = whole.find(struct.pack("<I", items) + heap, place + 4)
    path.write_bytes(whole)
    return path


def sequences(folder: Path, items: int, name: str = "reconstruction", **options) -> Path:
    with h5py.File(folder / "sequences.h5", "w") as file:
        data = file.create_dataset(name, (2, 8, 8), h5py.vlen_dtype(np.float32), **options)
        data[:] = np.ones((2, 8, 8, items), np.float32)
    return overlong(folder / "sequences.h5", items)


def titled(folder: Path, text: str, **attrs) -> Path:
    with h5py.File(hdf5(folder / "titled.h5", kspace=KSPACE, ismrmrd_header=text), "r+") as file:
        file.attrs.update(attrs)
    return overlong(folder / "titled.h5", len(text))


def linked(folder: Path, kind: str) -> Path:
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


def hdf5_keys(folder: Path, *keys: str) -> Path:
    return hdf5(folder / "keys.h5", **dict.fromkeys(keys, np.zeros(3)))


def zip_bomb(folder: Path, shape: tuple[int, ...]) -> Path:
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


def deflated_dicom(folder: Path, size: int) -> Path:
    plain = Path(pydicom.data.get_testdata_file("image_dfl.dcm")).read_bytes()
    start = 132 + 12 + int.from_bytes(plain[140:144], "little")
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    inside = zlib.decompress(plain[start:], -15)
    data = packed.compress(inside[:-8])
    data += b"".join(packed.compress(bytes(2**20)) for _ in range(0, size, 2**20)) + packed.flush()
    (folder / "bomb.dcm").write_bytes(plain[:start] + data)
    return folder / "bomb.dcm"


def jpeg_in_dicom(folder: Path, width: int, height: int) -> Path:
    coded = resized(folder, "jpg", width, height).read_bytes()
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file("SC_rgb_jpeg_dcmtk.dcm"))
    dataset.PixelData = pydicom.encaps.encapsulate([coded])
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.save_as(folder / "jpeg.dcm")
    return folder / "jpeg.dcm"


def pickled(folder: Path) -> Path:
    np.save(folder / "a.npy", np.array([{"a": 1}, Trap()], object), allow_pickle=True)
    return folder / "a.npy"


class Trap:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("unpickled"),))


def pipe(folder: Path, name: str) -> Path:
    os.mkfifo(folder / name)
    return folder / name


def symbolic_link(folder: Path, target: str, name: str = "link.nii") -> Path:
    (folder / name).symlink_to(target)
    return folder / name


def sparse(head: Path, size: int) -> Path:
    os.truncate(head, size)
    return head


def named_file(folder: Path, name: str) -> Path:
    return numpy_file(folder / name)


def weights_file(folder: Path, metadata: dict[str, str] | None, **tensors) -> Path:
    save_file(tensors or {"a": torch.zeros(3)}, folder / "a.safetensors", metadata)
    return folder / "a.safetensors"


def weights_card(folder: Path, card: object, **tensors) -> Path:
    return weights_file(
        folder, {"format": "mriqf-1", "card": card if isinstance(card, str) else json.dumps(card)}, **tensors
    )


def text_file(folder: Path, name: str, text: str | bytes) -> Path:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / name


def tiff_page(width: int, height: int, count: int) -> list[tuple[int, int, int]]:
    return [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (279, 4, count)]
