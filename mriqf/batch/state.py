"""Detection of volumes that changed since they were scored."""

import hashlib
import os
from pathlib import Path

from mriqf.io import ReadError
from mriqf.io.volume import split_series

PAIR = (".hdr", ".cfl", ".img")  # of one stem: BART's or NIfTI's two files


def state(path: str) -> str:
    """Digest of what tells that a volume has changed: names, sizes and times of change of its files.

    Not of the contents: to read an archive again in order to see that nothing changed would cost as much as to score
    it.

    Raises
    ------
    ReadError
        If there is no such file.
    """
    files = _files(path)
    if not files:
        raise ReadError(f"{path}: does not exist: check the path")
    digest = hashlib.sha256()
    for file in files:
        known = file.stat()
        digest.update(os.fsencode(file.name) + f"\0{known.st_size}\0{known.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def _files(path: str) -> list[Path]:
    """Files that a volume is made of; of a series, all those of its folder."""
    volume, _ = split_series(path)
    if volume.is_dir():
        return sorted(file for file in volume.iterdir() if file.is_file())
    if volume.suffix not in PAIR and volume.exists():
        return [volume]
    stem = path.removesuffix(volume.suffix) if volume.suffix in PAIR else path
    return [file for ending in PAIR if (file := Path(stem + ending)).is_file()]
