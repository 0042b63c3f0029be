"""Files written whole or not at all."""

import os

import pytest

from mriqf.io import atomic_path


def test_success(tmp_path):
    path = tmp_path / "a.nii.gz"
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".nii.gz")
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_mode_follows_umask(tmp_path):
    old = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "a") as temporary:
            temporary.write_text("new")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_failure_leaves_nothing(tmp_path, failure):
    with pytest.raises(failure), atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise failure
    assert list(tmp_path.iterdir()) == []


def test_failure_leaves_the_older_file(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(ValueError, match="no"), atomic_path(path, force=True) as temporary:
        temporary.write_text("half")
        raise ValueError("no")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_refuses_to_overwrite(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(FileExistsError) as error, atomic_path(path):
        pass
    assert str(error.value) == f"{path} exists: choose another name or pass --force"
    with atomic_path(path, force=True) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_no_such_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist: create it first"), atomic_path(tmp_path / "no" / "a"):
        pass
    with pytest.raises(FileExistsError, match="is a folder"), atomic_path(tmp_path, force=True):
        pass
