"""Limits on the memory and time that files may claim, and text that is safe to print.

A slice of MR is 2048² pixels at most, a photograph some 24 million. Scoring takes 40 to 140 bytes a pixel, so that a
picture as large as `PIXELS` allows needs gigabytes; but then its file is large as well: what claims many pixels out of
few bytes is refused far earlier.
"""

import errno
import math
from collections.abc import Iterable
from pathlib import Path

PIXELS = 2**25  # of a slice: 5792²
SLICES = 2**20  # of a volume
SAMPLES = 2**26  # of a slice of k-space, all coils: 64 of 1024²
WHOLE = 2**29  # bytes that are in memory at once: the array of an archive, a deflated file, weights
CHUNK = 2**27  # bytes that are unpacked for each slice that is read
TEXT = 2**25  # bytes of a table, a manifest or a calibration: some 200 000 slices
# Above this size, of a slice or of all, more than RATIO pixels for each byte of the file are a decompression bomb.
# JPEG of the lowest qualities comes near it; binary masks are packed as tightly, but are 512³ at most.
LARGE_SLICE, LARGE, RATIO = 2**20, 2**27, 50
LENGTH = 2000  # letters of an error
NO_ROOM = "no room is left on the disk: make some"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the system's errors of a disk, quota or file that is full
WORDS = {  # of the system's errors, by number: cause and cure
    errno.ENOENT: "does not exist: check the path",
    errno.ENOTDIR: "lies in a file that is no folder: check the path",
    errno.EISDIR: "is a folder: name a file",
    errno.ENAMETOOLONG: "is too long a name: choose a shorter one",
    errno.EACCES: "may not be read or written by you: change its permissions",
    errno.EPERM: "may not be changed by you: change its permissions",
    errno.EROFS: "lies on a disk that cannot be written to: choose another folder",
    errno.ENOSPC: NO_ROOM,
    errno.EDQUOT: NO_ROOM,
    errno.EFBIG: "is larger than a file may be here: " + NO_ROOM,
    errno.EMFILE: "cannot be opened, too many files are open: raise the limit by ulimit -n",
    errno.EIO: "cannot be read or written, the disk fails: check it",
}


class ReadError(ValueError):
    """A file cannot be used as asked; one line that names the file, the cause and the cure."""

    def __init__(self, message: str):
        # Names of files and what stands in them may hold line breaks, or commands to the terminal.
        super().__init__(plain(message)[:LENGTH])


def plain(text: str) -> str:
    """Text in which unprintable characters, such as line breaks and escapes, are written as in Python."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def words(error: Exception) -> str:
    """Cause and cure of a system error in words; the message of any other error, in one line."""
    known = WORDS.get(error.errno or 0) if isinstance(error, OSError) else None
    return known or " ".join(str(error).split()) or type(error).__name__


def named(error: Exception) -> str:
    """The same behind the file, where only the system's error knows it."""
    file = error.filename if isinstance(error, OSError) and error.errno in WORDS else None
    return words(error) if file is None else f"{file}: {words(error)}"


def listed(names: Iterable[object], most: int = 8) -> str:
    """First few names of a list, shortened and separated by commas."""
    given = [str(name) for name in names]
    return ", ".join(name[:40] for name in given[:most]) + (f" and {len(given) - most} more" * (len(given) > most))


def check_regular(path: Path) -> None:
    """Raise for pipes and devices: to open a pipe may block for ever, and a device has no end."""
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "a pipe or a device"
        raise ReadError(f"{path}: is {what}, no ordinary file: save it as one")


def read_text(path: Path, most: int = TEXT) -> bytes:
    """Bytes of a small file, such as a table or a card.

    Raises
    ------
    ReadError
        If it is no ordinary file, or larger than `most` bytes.
    OSError
        If it is not there, or may not be read.
    """
    check_regular(path)
    if (size := path.stat().st_size) > most:
        raise ReadError(f"{path}: has {size} bytes, more than the {most} that such a file may have: split it")
    return path.read_bytes()


def stored_bytes(path: Path) -> int:
    """Size of a file, or of the files in a folder."""
    return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]) if file.is_file())


def check_claim(source: object, n_slices: int, n_coils: int, shape: tuple[int, int], stored: int | None) -> None:
    """Raise for slices that are too large or too many, and for decompression bombs.

    Parameters
    ----------
    source
        Name of the file in errors.
    n_slices, n_coils, shape
        Sizes that the file claims; one coil for images, whatever their channels.
    stored
        Bytes that it is stored in; None for an array in memory.
    """
    one = math.prod(shape)
    what = f"{source}: claims {n_slices} slices of {n_coils} × {shape[0]} × {shape[1]}"
    if one > PIXELS or one * n_coils > SAMPLES:
        raise ReadError(f"{what}, and a slice may have {PIXELS} pixels, {SAMPLES} with all coils: cut it in parts")
    if n_slices > SLICES:
        raise ReadError(f"{what}, and a file may have {SLICES}: cut it in parts")
    total = one * n_coils * n_slices
    if stored is not None and (one > LARGE_SLICE or total > LARGE) and total > RATIO * stored:
        raise ReadError(f"{what} in {stored} bytes, as a decompression bomb does: save it without compression")
