"""Files that are either written whole or not at all."""

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
        Whether an older file of that name may be replaced.

    Raises
    ------
    FileExistsError
        When ``path`` exists and ``force`` does not allow to replace it, or it is a folder.
    FileNotFoundError
        When the folder of ``path`` does not exist.
    """
    path = Path(path)
    if path.is_dir():
        raise FileExistsError(f"{path} is a folder: name a file in it")
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists: choose another folder or pass --force")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist: create it first")
    # Not tempfile: its files are private to the user, whatever the umask says.
    temporary = path.with_name(f".{uuid4().hex}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
