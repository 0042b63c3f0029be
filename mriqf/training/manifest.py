"""Data by manifest: a TOML file (see `data_manifests/`) says which files and subjects belong to which split."""

import hashlib
import itertools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Complex64, Float32, Int, UInt8
from PIL import Image

from mriqf.io.bounds import plain, read_text
from mriqf.scoring.scale import normalise, percentile_scale

Split = Literal["train", "val", "test"]
PHOTOGRAPHS = (".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Source:
    """One line of a manifest: a file of slices, a folder of photographs, or a folder of files that are counted."""

    path: str
    """File or folder; the PNG, TIFF and WebP files of a folder are its photographs."""
    split: Split
    sha256: str | None = None
    key: str = "images"
    dataset: str | None = None
    """Set that studies count its subjects in; the file's name if absent."""
    subject: str | None = None
    """Name of the one subject that a file shows. Files of one subject are read one after the other, as one stack."""
    subjects: tuple[int, ...] | None = None
    weight: float = 1.0
    """Frequency of draws of its images, relative to the other sources."""
    files: str | None = None
    """Pattern of the files in the folder, such as ``*.h5``, of data whose hash nobody publishes."""
    count: int | None = None
    """Number of files that the pattern must find."""

    def find(self, root: Path) -> list[Path]:
        """Files below a folder: those of the pattern, or else the one file or folder itself, if it is there."""
        path = root / self.path
        if self.files is not None:
            return sorted(path.glob(self.files))
        return [path] if path.exists() else []


@dataclass(frozen=True)
class Manifest:
    """Data that a model is trained, validated and tested on."""

    name: str
    sources: tuple[Source, ...]
    sha256: str
    """Hash of the manifest's own text, which holds the hashes of the data."""

    def split(self, split: Split) -> tuple[Source, ...]:
        """Sources of one split."""
        return tuple(s for s in self.sources if s.split == split)


def read_manifest(path: str | Path) -> Manifest:
    """Read a manifest.

    Raises
    ------
    ValueError
        If the file is not a manifest, or a subject stands in two splits.
    """
    text = read_text(Path(path))
    try:
        card = tomllib.loads(text.decode())
        name = card["name"]
        sources = tuple(
            Source(**{**s, "subjects": tuple(s["subjects"]) if "subjects" in s else None}) for s in card["source"]
        )
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a manifest ({plain(str(error))}): see data_manifests/README.md") from None
    for source in sources:
        if source.split not in get_args(Split):
            raise ValueError(f"{path}: split is {source.split!r}: choose train, val or test")
        if source.subject is not None and source.subjects is not None:
            raise ValueError(f"{path}: {source.path} has subject and subjects: keep one, by name or by number")
        if (source.sha256 is None) == (source.count is None) or (source.files is None) != (source.count is None):
            raise ValueError(f"{path}: {source.path} needs sha256, or else files and count, by which it is checked")
    for a, b in itertools.combinations(sources, 2):
        shared = a.subjects is None or b.subjects is None or set(a.subjects) & set(b.subjects)
        if (a.path, a.key) == (b.path, b.key) and a.split != b.split and shared:
            subject = "None" if shared is True else min(shared)
            raise ValueError(f"{path}: {a.path} subject {subject} stands in two splits: keep it in one")
    return Manifest(name, sources, hashlib.sha256(text).hexdigest())


def verify(source: Source, root: Path) -> None:
    """Raise ValueError if a source's files are not the ones that the manifest was written for."""
    files, path = source.find(root), root / source.path
    if not files:
        raise FileNotFoundError(
            f"{path / (source.files or '')} is missing: fetch it, or correct the folder of the data"
        )
    if source.count is not None and len(files) != source.count:
        raise ValueError(f"{path / (source.files or '')} are {len(files)} files, not {source.count}: fetch them again")
    if source.sha256 is not None and content_hash(path) != source.sha256:
        raise ValueError(f"{path} is not the file in the manifest (sha256 differs): fetch it again")


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of a folder's files."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]:
        if path.is_dir():
            digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def read_source(source: Source, root: Path, channels: int = 1) -> list[np.ndarray]:
    """Images of a source in [0, 1], float32, `(h, w)` or `(h, w, 3)`.

    MR slices are normalised as for scoring, subject by subject; photographs keep their range, and become
    full-range luma for one channel.

    Raises
    ------
    ValueError
        If the files are not those of the manifest, or a folder has no photographs, or some that are JPEG images.
    """
    path = root / source.path
    if path.is_dir() and source.files is None:
        verify(source, root)
        mode = "RGB" if channels == 3 else "L"
        return [read_photograph(file, mode).astype(np.float32) / 255 for file in find_photographs(path)]
    slices, subject = read_slices(source, root)
    images = []
    for s in sorted(set(subject.tolist())):
        volume = slices[subject == s]
        scale = percentile_scale(list(volume[:, None]))
        images += [normalise(image[None], scale)[0] for image in volume]
    return images


def find_photographs(folder: Path) -> list[Path]:
    """The PNG, TIFF and WebP files of a folder, in the order of their names; other files are passed over.

    Raises
    ------
    ValueError
        If there are none, or there are JPEG files, whose own loss would be taken for the truth.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    if lossy := next((path for path in files if path.suffix.lower() in (".jpg", ".jpeg")), None):
        raise ValueError(f"{lossy} is compressed as JPEG already: give photographs that never were, as PNG, TIFF, WebP")
    photographs = [path for path in files if path.suffix.lower() in PHOTOGRAPHS]
    if not photographs:
        raise ValueError(f"{folder} holds no photographs: give PNG, TIFF or WebP files")
    return photographs


def read_photograph(path: Path, mode: Literal["RGB", "L"]) -> UInt8[np.ndarray, "h w *ch"]:
    """Pixels of a photograph in colours, or as full-range luma.

    Raises
    ------
    ValueError
        If it cannot be read, or has more than 8 bits.
    """
    try:
        with Image.open(path, formats=("PNG", "TIFF", "WEBP")) as image:
            deep = image.mode.startswith(("I", "F"))
            pixels = np.asarray(image.convert(mode))
    except (OSError, SyntaxError) as error:  # Pillow raises either for damaged files
        raise ValueError(
            f"{path} is no PNG, TIFF or WebP, or is damaged ({plain(str(error))}): save it again"
        ) from None
    if deep:
        raise ValueError(f"{path} has more than 8 bits a pixel: save it with 8")
    return pixels


def read_slices(
    source: Source, root: Path
) -> tuple[Float32[np.ndarray, "s h w"] | Complex64[np.ndarray, "s c h w"], Int[np.ndarray, " s"]]:
    """MR slices of a source in the units of the file, or k-space where that is what it holds, and the subject of each.

    Raises
    ------
    ValueError
        If the file is not that of the manifest, or holds k-space.
    """
    verify(source, root)
    path = root / source.path
    if source.files is not None or path.suffix == ".h5":
        raise ValueError(f"{path}: holds k-space, not images: read it with mriqf.io.slices")
    with np.load(path, allow_pickle=False) as archive:
        slices = archive[source.key]
        slices = slices.astype(np.complex64 if np.iscomplexobj(slices) else np.float32)
        subject = archive["subject"] if "subject" in archive.files else np.zeros(len(slices), int)
    if subject.dtype.kind not in "iu":  # names: numbered in their order
        subject = np.unique(subject, return_inverse=True)[1]
    subject = subject.astype(int)
    chosen = np.isin(subject, subject if source.subjects is None else source.subjects)
    return slices[chosen], subject[chosen]
