"""Batches: what is found, what is kept, and what is left of it when something is killed."""

import csv
import errno
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from mriqf.batch import Dataset, read_rows, scatter, state, workers
from mriqf.cli import main
from mriqf.html import read_scores
from mriqf.io import ReadError
from mriqf.jpeg import compress_pixels

SETTINGS = "0123456789abcdef"
ROW = {
    "input": "a b/é.npy", "slice": 3, "score": 0.1 + 0.2, "pool": "rms", "weights": "qf", "foreground_fraction": 1 / 3,
    "foreground": "automatic", "low": -1e-300, "high": 1e300, "threshold": 0.0, "jpeg_quality": None, "map": None,
    "version": "1", "nrmse": None, "distance": math.inf, "domain": "ok",
}  # fmt: skip

pytestmark = pytest.mark.timeout(900)  # of a busy machine, on which processes start slowly


@pytest.fixture(scope="module")
def cluster():
    """A cluster of one worker process, which is not tried again when it is killed."""
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set(
            {"distributed.scheduler.allowed-failures": 0, "distributed.deploy.lost-worker-timeout": "300s"}
        ),
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50) as found,
    ):
        yield found.scheduler_address


@pytest.fixture
def archive(tmp_path, disc, texture, monkeypatch):
    """Folder of five volumes, two of them in a folder within it, beside two files that are none."""
    folder = tmp_path / "archive"
    (folder / "b").mkdir(parents=True)
    for k, name in enumerate(("c.npy", "a.npy", "b/d.npy")):
        np.save(folder / name, disc(3, 64, 80, seed=k))
    values = disc(2, 64, 80, seed=3)
    values[1] = 0  # no foreground: no score
    nibabel.save(nibabel.Nifti1Image(values.T, np.eye(4)), folder / "b" / "e.nii.gz")
    Image.fromarray(compress_pixels(texture(64, 64), 70)).save(folder / "z.png")
    (folder / "notes.txt").write_text("none")
    (folder / ".hidden.npy").write_text("none")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def run(cluster, weights_file, tmp_path, capfd):
    """Runner of `mriqf score --out scores` on the cluster: exit status, standard output, lines of standard error."""
    weights = str(weights_file())

    def score(*tokens, plain=False):
        capfd.readouterr()
        kept = [] if plain else ["--out", tmp_path / "scores", "--scheduler", cluster]
        status = main(["score", *map(str, [*tokens, *kept]), "--weights", weights])
        printed = capfd.readouterr()
        return status, printed.out, printed.err.splitlines()

    score.weights = weights
    return score


def written(folder):
    """Parts and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


# What has changed


def test_state_follows_each_file_of_a_volume(tmp_path):
    (tmp_path / "x.cfl").write_bytes(b"1234")
    (tmp_path / "x.hdr").write_text("4")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "1").write_text("")
    for path, touched in (("x.cfl", "x.hdr"), ("x", "x.cfl"), ("s", "s/1")):
        before = state(str(tmp_path / path))
        assert state(str(tmp_path / path)) == before
        os.utime(tmp_path / touched, ns=(1, 1))
        changed = state(str(tmp_path / path))
        assert changed != before
        with (tmp_path / touched).open("a") as file:
            file.write("5")
        os.utime(tmp_path / touched, ns=(1, 1))
        assert state(str(tmp_path / path)) not in (before, changed)
    with pytest.raises(ReadError, match="y: does not exist"):
        state(str(tmp_path / "y"))


# What is kept


def test_dataset_gives_back_what_was_written(tmp_path, disc):
    np.save(tmp_path / "a.npy", disc(1))
    dataset = Dataset(tmp_path / "d", SETTINGS)
    part = dataset.part(str(tmp_path / "a.npy"))
    assert part not in dataset
    rows = [ROW, ROW | {"slice": 4, "score": math.nan, "jpeg_quality": 70, "nrmse": 0.25}]
    dataset.write(part, rows)
    assert part in dataset
    again = Dataset(tmp_path / "d", SETTINGS)
    assert part in again
    for found in (dataset.rows(part), read_rows(tmp_path / "d")):
        assert found[0] == rows[0]
        assert [(k, repr(v)) for k, v in found[1].items()] == [(k, repr(v)) for k, v in rows[1].items()]


def test_changed_volume_has_one_part(tmp_path):
    path = tmp_path / "a.npy"
    dataset = Dataset(tmp_path / "d", SETTINGS)
    for k in range(3):
        path.write_text("x" * k)
        part = dataset.part(str(path))
        assert part not in dataset
        dataset.write(part, [ROW | {"score": float(k)}])
        assert [row["score"] for row in read_rows(tmp_path / "d")] == [k]
        assert list(written(tmp_path / "d")) == [part]
    path.write_text("changed")
    dataset.forget(dataset.part(str(path)))
    assert read_rows(tmp_path / "d") == []
    dataset.write(part, [ROW])
    dataset.forget(part)  # it is its own
    assert part in dataset


@pytest.mark.parametrize("name", ["x.parquet", f"{'a' * 32}-{'b' * 16}-{'c' * 16}.parquet"])
def test_datasets_do_not_mix(tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(FileExistsError, match="name another folder"):
        Dataset(tmp_path, SETTINGS)


def test_dataset_is_a_folder(tmp_path):
    (tmp_path / "d").write_text("")
    with pytest.raises(FileExistsError, match="d is a file: name a folder"):
        Dataset(tmp_path / "d", SETTINGS)


def test_damaged_part_is_one_line(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(ReadError, match="cannot be read"):
        read_rows(tmp_path)


def test_full_disk_leaves_no_part(tmp_path):
    path = tmp_path / "a.npy"
    path.write_text("")
    dataset = Dataset(tmp_path / "d", SETTINGS)
    old = dataset.part(str(path))
    dataset.write(old, [ROW])
    path.write_text("changed")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            dataset.write(dataset.part(str(path)), [ROW])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(written(tmp_path / "d")) == [old]


# What workers do


def test_every_item_once_whatever_dies(cluster):
    def task(item):
        import os

        if item == 3:
            os.kill(os.getpid(), 9)
        return item * item

    with workers(scheduler=cluster) as client:
        found = dict(scatter(client, task, range(12)))
    assert sorted(found) == list(range(12))
    assert type(found.pop(3)).__name__ == "KilledWorker"
    assert found == {k: k * k for k in found}


def test_items_are_taken_as_workers_become_free(cluster):
    taken = []

    def items():
        for k in range(30):
            taken.append(k)
            yield k

    with workers(scheduler=cluster) as client:
        for count, _ in enumerate(scatter(client, abs, items())):
            assert len(taken) < count + 5
    assert len(taken) == 30


def test_task_that_fails_by_itself_ends_all(cluster):
    def task(item):
        raise KeyError(item)

    with workers(scheduler=cluster) as client, pytest.raises(ValueError, match="a worker failed"):
        list(scatter(client, task, range(3)))


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([{"input": "a" * 9000, "slice": 0, "score": 1.0}], "has a text of more than"),
        ([{"input": "a", "slice": 0, "score": 1.0}] * 70_000, "claims 70000 rows"),
        ([{"input": "a", "slice": 0, "quality": 1.0}], "has other columns than the parts before"),
        ([{"input": "a", "slice": 0, "comment": 1.0}], "has columns that are no numbers"),
        (None, "cannot be read"),
    ],
)
def test_part_that_is_none_is_named(tmp_path, monkeypatch, rows, word):
    dataset = Dataset(tmp_path / "scores", "0" * 16)
    good, bad = (f"{digit * 32}-{'0' * 16}-{'0' * 16}.parquet" for digit in "01")
    dataset.write(good, [{"input": "b", "slice": 0, "score": 2.0}])
    if rows is None:
        (dataset.folder / bad).write_bytes((dataset.folder / good).read_bytes()[:-9])
    else:
        if "comment" in rows[0]:
            monkeypatch.setattr("mriqf.batch.dataset.TEXT", ("input", "comment"))
            rows = [row | {"comment": "words"} for row in rows]
        dataset.write(bad, rows)
        monkeypatch.undo()
    with pytest.raises(ReadError, match=word) as error:
        read_rows(dataset.folder)
    assert str(error.value).startswith(str(dataset.folder / bad))


def test_own_workers_keep_freed_memory(monkeypatch):
    # With Dask's setting half of the time went into page faults.
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    with workers(1) as client:
        assert list(client.run(os.environ.get, "MALLOC_TRIM_THRESHOLD_").values()) == [None]


def test_lost_scheduler_is_one_line(tmp_path):
    code = (
        "from distributed import LocalCluster; import time\nif __name__ == '__main__':\n"
        " with LocalCluster(n_workers=1, dashboard_address='127.0.0.1:0') as c:\n"
        "  print(c.scheduler_address, flush=True); time.sleep(600)"
    )
    (tmp_path / "start.py").write_text(code)
    with subprocess.Popen([sys.executable, tmp_path / "start.py"], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        with workers(scheduler=other.stdout.readline().strip()) as client:
            found = scatter(client, time.sleep, [0.01, 0.02, *range(500, 510)])
            assert next(found)[1] is None
            other.kill()
            with pytest.raises(ConnectionError, match="scheduler is gone"):
                list(found)


# All of it


def test_same_table_as_without_workers(run, archive):
    bad = archive / "b" / "corrupt.nii.gz"
    bad.write_bytes((archive / "b" / "e.nii.gz").read_bytes()[:-40])
    names = ["c.npy", "a.npy", "z.png", "b/corrupt.nii.gz", "b/d.npy", "b/e.nii.gz"]
    plain = run(*(f"archive/{name}" for name in names), "--csv", "plain.csv", "--json", "plain.json", plain=True)
    assert plain[0] == 1
    status, out, error = run("archive/c.npy", "archive", "--csv", "a.csv", "--json", "a.json")
    assert status == 1
    assert out.split("\t")[1:] == ["6", "5", "1\n"]
    assert len([line for line in error if line.startswith("error: ")]) == 1
    assert "corrupt.nii.gz" in error[[line.startswith("error: ") for line in error].index(True)]
    assert len([line for line in error if "archive/z.png: pixels carry the lattice of JPEG quality 70" in line]) == 1
    assert error[2:] == [
        "skipped: archive/.hidden.npy: is hidden", "skipped: archive/notes.txt: is of no format that is read",
    ]  # fmt: skip
    assert Path("a.csv").read_bytes() == Path("plain.csv").read_bytes()
    assert Path("a.json").read_bytes() == Path("plain.json").read_bytes()

    before = written(Path("scores"))
    assert len(before) == 5
    assert run("archive/c.npy", "archive", "--csv", "b.csv")[0] == 1  # what failed is tried again
    assert written(Path("scores")) == before
    assert Path("b.csv").read_bytes() == Path("plain.csv").read_bytes()

    shutil.copy(archive / "b" / "e.nii.gz", bad)
    np.save(archive / "a.npy", 2 * np.load(archive / "a.npy")[:2])
    status, out, error = run(str(archive), "--csv", "c.csv")
    assert (status, out.split("\t")[1:]) == (0, ["6", "6", "0\n"])
    assert all(line.startswith("skipped: ") for line in error)
    after = written(Path("scores"))
    assert len(after) == 6
    assert len(after.items() & before.items()) == 4
    with Path("c.csv").open(newline="") as file:  # by the names of this run, all of its slices once
        table = [row for row in csv.DictReader(file) if row["slice"]]  # without the rows of volumes
    rows = [(Path(row["input"]).relative_to(archive).as_posix(), int(row["slice"])) for row in table]
    lengths = {"a.npy": 2, "c.npy": 3, "z.png": 1, "b/corrupt.nii.gz": 2, "b/d.npy": 3, "b/e.nii.gz": 2}
    assert rows == [(name, k) for name, n in lengths.items() for k in range(n)]
    assert {len(volume.slices) for volume in read_scores([Path("scores")])} == {1, 2, 3}

    status, out, error = run(archive, "--pool", "mean")
    assert (status, out) == (2, "")
    assert "holds scores by other weights, options or version" in error[0]


def test_maps_and_pictures_are_added_later(run, archive):
    """The same scores, and no work where nothing is missing; what another run has added stays known."""

    def maps():
        return {row["input"]: row["map"] for row in read_rows(Path("scores"))}

    assert run(archive)[0] == 0
    scores = {(row["input"], row["slice"]): row["score"] for row in read_rows(Path("scores"))}
    assert set(maps().values()) == {None}
    first = written(Path("scores"))
    status, out, _ = run(archive, "--map-dir", "maps")
    assert (status, out.split("\t")[1:]) == (0, ["5", "5", "0\n"])
    assert all(Path(found).is_file() for found in maps().values())
    assert len(set(maps().values())) == len(list(Path("maps").iterdir())) == 5
    again = {(row["input"], row["slice"]): row["score"] for row in read_rows(Path("scores"))}
    assert repr(again) == repr(scores)
    second = written(Path("scores"))
    assert first.keys() == second.keys()
    assert not first.items() & second.items()
    assert run(archive, "--map-dir", "maps")[0] == 0  # nothing is missing
    assert written(Path("scores")) == second
    before = written(Path("maps"))
    lost = maps()[str(archive / "a.npy")]
    Path(lost).unlink()
    known = maps()
    assert run(archive, "--overlay-dir", "pictures")[0] == 0  # pictures alone: the map that is lost stays so
    assert maps() == known
    assert len(list(Path("pictures").iterdir())) == 3 * 3 + 2 + 1
    assert run(archive, "--map-dir", "maps", "--overlay-dir", "pictures")[0] == 0
    after = written(Path("maps"))
    assert Path(lost).is_file()
    assert before.items() - after.items() == {(Path(lost).name, before[Path(lost).name])}


def test_full_disk_keeps_what_is_done(run, archive, monkeypatch):
    sync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    status, _, error = run(archive)
    assert status == 1
    (said,) = (line for line in error if "warning" not in line)
    cause = "no room is left on the disk: make some; what is done is kept: run it again then"
    assert said == f"mriqf: {Path.cwd() / 'scores'}: {cause}"
    before = written(Path("scores"))
    assert len(before) == 2
    assert run(archive)[0] == 0
    assert len(written(Path("scores"))) == 5
    assert before.items() <= written(Path("scores")).items()


def test_no_name_leads_out_of_the_folders(run, archive):
    inner = archive / "b" / "w"
    inner.mkdir()
    for name in ("..npy", "...npy", "-x.npy", "a\nb.npy", "%2e%2e%2fx.npy"):
        shutil.copy(archive / "a.npy", inner / name)
    os.link(archive / "a.npy", os.fsencode(inner) + b"/\xff.npy")
    before = {path for path in Path().rglob("*") if "scores" not in path.parts}
    inputs = [inner / name for name in ("..npy", "...npy")]
    status, _, error = run(archive / "b/w/../../b/w", *inputs, "--map-dir", "maps", "--overlay-dir", "pictures")
    assert status == 1
    skipped = [line for line in error if line.startswith("skipped: ")]
    assert sorted(line.rsplit("/", 1)[1] for line in skipped) == ["...npy: is hidden", "..npy: is hidden"]
    assert [line for line in error if line not in skipped] == [
        "error: " + str(inner / ".." / ".." / "b" / "w" / "\\udcff.npy: its name is not UTF-8: rename it")
    ]
    new = {path for path in Path().rglob("*") if "scores" not in path.parts} - before
    assert {str(path.parent) for path in new} == {".", "maps", "pictures"}
    assert {str(path) for path in new if path.is_dir()} == {"maps", "pictures"}
    rows = read_rows(Path("scores"))
    assert {row["map"] for row in rows} <= {str(path) for path in new}


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["--workers", "2"], "need a folder for the scores: --out"),
        (["--scheduler", "tcp://localhost:1"], "need a folder for the scores: --out"),
        (["--out", "d", "--workers", "0"], "--workers is 0: give 1 or more"),
        (["--out", "d", "--workers", "1", "--scheduler", "x"], "exclude each other"),
        (["--out", "d", "--weights", "qf-grya"], "weights 'qf-grya' not found"),
        (["--out", "d", "--pool", "median"], "pool is 'median'"),
        (["--out", "d", "--slices", "a"], "--slices is 'a'"),
        (["--out", "d", "--device", "tpu"], "--device is 'tpu'"),
        (["--out", "d", "--limit", "0.1"], "--limit goes with scores that are printed"),
    ],
)
def test_options_that_cannot_be_meant(archive, capsys, tokens, message):
    assert main(["score", str(archive), *tokens]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert message in printed.err
    assert not Path("d").exists()


@pytest.mark.end_to_end
def test_kill_of_worker_and_of_client(run, archive, disc):
    import psutil

    for k in range(40):
        np.save(archive / f"n{k:02}.npy", disc(6, 64, 80, seed=k))
    command = [sys.executable, "-m", "mriqf", "score", "archive", "--out", "scores", "--workers", "1",
               "--weights", run.weights]  # fmt: skip
    with Path("errors").open("w") as errors:
        client = subprocess.Popen(command, stderr=errors)

    def wait_for(count):
        while len(list(Path("scores").glob("[!.]*.parquet"))) < count:
            assert client.poll() is None, Path("errors").read_text()
            time.sleep(0.002)

    def spawned():
        children = psutil.Process(client.pid).children(recursive=True)
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]

    wait_for(3)
    (worker,) = spawned()
    os.kill(worker.pid, signal.SIGKILL)
    already = len(list(Path("scores").iterdir()))
    assert already < 25
    wait_for(already + 8)  # by another worker
    (worker,) = spawned()
    os.kill(client.pid, signal.SIGKILL)
    client.wait()
    before = written(Path("scores"))
    assert len(before) < 45
    assert psutil.wait_procs([worker], timeout=60)[1] == []  # it ends when its client does
    status, out, _ = run("archive", "--csv", "scores.csv")
    assert (status, out.split("\t")[1:]) == (0, ["45", "45", "0\n"])
    kept = {name: when for name, when in before.items() if not name.startswith(".")}
    assert kept.items() <= written(Path("scores")).items()
    rows = read_rows(Path("scores"))
    keys = [(row["input"], row["slice"]) for row in rows]
    assert len(keys) == len(set(keys)) == 3 * 3 + 2 + 1 + 40 * 6
    run("archive/n07.npy", "archive/n31.npy", "--csv", "plain.csv", plain=True)
    with Path("plain.csv").open(newline="") as file:
        plain = {(row["input"], int(row["slice"])): row["score"] for row in csv.DictReader(file) if row["slice"]}
    assert plain == {key: str(row["score"]) for key, row in zip(keys, rows, strict=True) if key in plain}
