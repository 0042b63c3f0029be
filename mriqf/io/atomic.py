"""Atomic writing of files: whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def atomic_path(path: str | Path, force: bool = False) -> Iterator[Path]:
    """Path of a new file beside ``path``, with the same ending, which becomes ``path`` once the block has succeeded.

    Parameters
    ----------
    path
        File to write, in a folder that exists.
    force
        Replace an existing file.

    Raises
    ------
    FileExistsError, FileNotFoundError
        See `check_target`.
    """
    path = Path(path)
    check_target(path, force)
    # Not tempfile: its files are private to the user, whatever the umask says.
    temporary = path.with_name(f".{uuid4().hex}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_target(path: Path, force: bool = False) -> None:
    """Raise for a path that must not or cannot be written, before any work is done.

    Raises
    ------
    FileExistsError
        When ``path`` exists and ``force`` does not allow to replace it, or it is a folder, a pipe or a device.
    FileNotFoundError
        When the folder of ``path`` does not exist.
    """
    if path.is_dir():
        raise FileExistsError(f"{path} is a folder: name a file in it")
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} is a pipe or a device: name an ordinary file")
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists: choose another name or pass --force")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist: create it first")


def reserve(path: Path, size: int) -> None:
    """Create a file of zeros with all disk space allocated.

    Raises
    ------
    OSError
        If there is no room for it, where the system can tell.
    """
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
