"""Commands as real processes on real terminals, pipes and full disks."""

import csv
import fcntl
import json
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest

MRIQF = (sys.executable, "-m", "mriqf")
pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]  # of a busy machine


class Terminal:
    """A process on a terminal of its own; what is on the screen, in the end."""

    def __init__(self, *tokens, columns=100):
        self._end, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        self._process = subprocess.Popen(
            [*MRIQF, *map(str, tokens)], stdin=end, stdout=end, stderr=end, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(end)
        self._raw = b""

    def press(self, keys):
        os.write(self._end, keys)

    def wait_until(self, condition):
        """Let it run until something is so."""
        os.set_blocking(self._end, False)
        while not condition():
            assert self._process.poll() is None, self._raw.decode()
            self._read()
            time.sleep(0.01)
        os.set_blocking(self._end, True)

    def end(self):
        """Exit status, and lines of the screen."""
        while self._read():
            pass
        os.close(self._end)
        return self._process.wait(60), self._screen()

    def _read(self):
        try:
            more = os.read(self._end, 1 << 16)
        except BlockingIOError:
            return True
        except OSError:  # the process has closed its end
            return False
        self._raw += more
        return bool(more)

    def _screen(self):
        """Lines as a terminal shows them: `\\r` goes back to the first column, to write over what is there."""
        lines, place = [[]], 0
        for c in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._raw.decode()):
            if c == "\n":
                lines.append([])
            elif c == "\r":
                place = 0
            else:
                lines[-1][place : place + 1] = [c]
                place += 1
        return ["".join(line).rstrip() for line in lines]


@pytest.fixture
def weights(weights_file):
    return str(weights_file(width=8))


@pytest.fixture
def long(tmp_path, disc, monkeypatch):
    """A volume that takes a while: 3000 slices."""
    monkeypatch.chdir(tmp_path)
    np.save("long.npy", (disc(1, 64, 64)[0] / 4).astype(np.uint8)[None].repeat(3000, 0))
    return Path("long.npy")


def rows(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_mixed_folder(tmp_path, disc, calibrated_file, monkeypatch):
    """Every file is scored or named, in aligned rows that no progress bar has written into."""
    monkeypatch.chdir(tmp_path)
    path, _ = calibrated_file()
    mixed = tmp_path / "mixed"
    (mixed / "a folder with a long name").mkdir(parents=True)
    np.save(mixed / "knee.npy", disc(3))
    np.save(mixed / "a folder with a long name" / "volume.npy", disc(2, seed=1))
    np.save(mixed / "noise.npy", np.random.default_rng(0).random((1, 96, 96)))
    (mixed / "empty.nii").write_bytes(b"")
    (mixed / "notes.txt").write_text("")
    terminal = Terminal("score", "mixed", "--weights", path, columns=90)
    status, lines = terminal.end()
    assert status == 1
    heading = next(k for k, line in enumerate(lines) if line.startswith("volume"))
    assert lines[heading].split() == ["volume", "slice", "NRMSE", "[90", "%]", "score", "object", "remark"]
    assert lines[heading + 1].split() == ["%", "0–100", "%"]
    table = lines[heading + 2 : lines.index("", heading)]
    assert len(table) == 7
    end = lines[heading].index(" slice") + len(" slice")
    for line in table:
        assert line.startswith(("mixed/", "…")), line
        assert line[end : end + 2] in ("  ", ""), line
        assert "it/s" not in line and "slice/s" not in line
    assert {line[:end].split()[-1] for line in table if "knee" in line} == {"0", "1", "2"}
    (failed,) = (line for line in table if "empty.nii" in line)
    assert failed.split(maxsplit=1)[1] == "is empty: write or copy it again"
    (noise,) = (line for line in table if "noise" in line)
    assert noise[end:].split("(")[0].strip() == "unlike calibration"
    after = "\n".join(lines[lines.index("", heading) + 1 :])
    assert re.search(r"^mixed/knee.npy +3 +[\d.]+ \[[\d.]+–[\d.]+\] +[\d.]+ +[\d.]+ \(\d\)", after, re.MULTILINE)
    assert re.search(r"^mixed/noise.npy +0 of 1  unlike calibration \(distance", after, re.MULTILINE)
    assert re.search(r"^….*volume.npy +2 ", after, re.MULTILINE)
    assert after.count("Cut-off") == 1
    assert "not scored: mixed/empty.nii: is empty: write or copy it again" in after
    assert "skipped: mixed/notes.txt: is of no format that is read" in after


@pytest.mark.usefixtures("long")
def test_reader_that_goes_away_is_no_error(weights):
    command = f"{shlex.join(MRIQF)} score long.npy --weights {weights} --csv s.csv | head -2; echo ${{PIPESTATUS[0]}}"
    completed = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    *lines, status = completed.stdout.splitlines()
    assert ([line.split("\t")[1] for line in lines], status, completed.stderr) == (["0", "1"], "141", "")
    assert 2 <= len(rows("s.csv")) < 3000


@pytest.mark.usefixtures("long")
def test_full_standard_output_is_one_line(weights):
    for tokens in (["score", "long.npy", "--weights", weights], ["weights", "list"]):
        with Path("/dev/full").open("w") as full:
            completed = subprocess.run([*MRIQF, *tokens], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert completed.returncode == 1, tokens
        assert completed.stderr == "mriqf: standard output: no room is left on the disk: make some\n", tokens


@pytest.mark.usefixtures("long")
def test_full_disk_keeps_whole_rows(weights):
    def limit():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    tokens = ["score", "long.npy", "--weights", weights, "--csv", "s.csv"]
    completed = subprocess.run([*MRIQF, *tokens], capture_output=True, text=True, check=False, preexec_fn=limit)
    kept = rows("s.csv")
    assert completed.returncode == 1
    assert completed.stderr.count("\n") == 1
    assert f"no room is left on the disk: make some; the {len(kept)} rows before are kept" in completed.stderr
    assert [row["slice"] for row in kept] == [str(k) for k in range(len(kept))]
    assert kept


@pytest.mark.parametrize(
    ("tokens", "file"),
    [
        (["recon", "raw.npy", "--method", "zero-filled", "--out", "r.h5"], "r.h5"),
        (["score", "noise.npy", "--map-dir", "."], "noise_quality.nii.gz"),
        (["score", "noise.npy", "--overlay-dir", "."], "noise_0000.png"),
        (["report", "s.csv", "--out", "r.html"], "r.html"),
    ],
    ids=["recon", "map", "overlay", "report"],
)
def test_full_disk_names_the_file(tmp_path, weights, monkeypatch, tokens, file):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("raw.npy", (rng.standard_normal((1, 1, 96, 96)) + 1j).astype(np.complex64))
    np.save("noise.npy", rng.random((1, 512, 512)))
    if tokens[0] == "score":
        tokens = [*tokens, "--weights", weights]
    if tokens[0] == "report":
        command = [*MRIQF, "score", "noise.npy", "--weights", weights, "--csv", "s.csv"]
        subprocess.run(command, check=True, capture_output=True)
    before = sorted(os.listdir())  # noqa: PTH208

    def limit():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

    completed = subprocess.run([*MRIQF, *tokens], capture_output=True, text=True, check=False, preexec_fn=limit)
    assert completed.returncode == 1
    assert completed.stderr.endswith(
        f"mriqf: {file}: is larger than a file may be here: no room is left on the disk: make some\n"
    )
    assert "Traceback" not in completed.stderr
    assert sorted(os.listdir()) == before  # noqa: PTH208


def test_interrupted_run_keeps_its_tables(long, weights):
    terminal = Terminal("score", long, "--weights", weights, "--csv", "s.csv", "--json", "s.json", "--map-dir", "maps")
    terminal.wait_until(lambda: Path("s.csv").exists() and Path("s.csv").read_bytes().count(b"\n") > 20)
    terminal.press(b"\x03")
    status, lines = terminal.end()
    kept = rows("s.csv")
    assert (status, "Traceback" in "\n".join(lines)) == (130, False)
    assert 20 <= len(kept) < 3000
    assert len(json.loads(Path("s.json").read_text())) in (len(kept), len(kept) - 1)  # stopped between the two
    assert re.search(rf"^interrupted; {len(kept)} rows are in s.csv; \d+ rows are in s.json", "\n".join(lines), re.M)
    assert list(Path("maps").iterdir()) == []


@pytest.mark.usefixtures("long")
def test_interrupted_archive_goes_on(weights, disc):
    Path("archive").mkdir()
    for k in range(60):
        np.save(f"archive/{k:02}.npy", disc(4, 64, 64, seed=k))
    tokens = ("score", "archive", "--out", "scores", "--workers", "1", "--weights", weights)
    terminal = Terminal(*tokens, "--csv", "s.csv")
    terminal.wait_until(lambda: len(list(Path("scores").glob("[!.]*.parquet"))) > 2)
    terminal.press(b"\x03")
    status, lines = terminal.end()
    text = "\n".join(lines)
    assert (status, "Traceback" in text) == (130, False), text
    (told,) = re.findall(r"interrupted; (\d+) of 60 volumes are in scores: the same command goes on from there", text)
    kept = {path.name: path.stat().st_mtime_ns for path in Path("scores").glob("[!.]*.parquet")}
    assert 3 <= int(told) <= len(kept) < 60
    volumes = [row for row in rows("s.csv") if not row["slice"]]
    assert len([row for row in volumes if row["score"]]) == int(told)
    assert {row["note"] for row in volumes if not row["score"]} == {"not scored: the run was interrupted"}
    assert len(volumes) == 60
    completed = subprocess.run([*MRIQF, *tokens], capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stdout) == (0, "scores\t60\t60\t0\n")
    after = {path.name: path.stat().st_mtime_ns for path in Path("scores").glob("*.parquet")}
    assert kept.items() <= after.items()


@pytest.mark.usefixtures("long")
def test_missing_folder_of_a_table_is_told_at_once(weights):
    completed = subprocess.run(
        [*MRIQF, "score", "long.npy", "--weights", weights, "--csv", "nodir/x.csv"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (completed.returncode, completed.stdout) == (1, "")
    assert completed.stderr == "mriqf: nodir/x.csv: the folder nodir does not exist: create it first\n"


def test_other_commands_are_aligned_too(tmp_path, disc, weights, texture, monkeypatch):
    """recon, check and restore, each with what it is about in the first column, and units."""
    import torch
    from PIL import Image

    import recon

    monkeypatch.chdir(tmp_path)
    csm = recon.surface_coils(3, (64, 64), seed=0)
    kspace = recon.simulate_kspace(torch.from_numpy(disc(2, 64, 64)[:, None]) + 0j, csm, 5.0, seed=0)
    np.save("raw.npy", kspace.numpy())
    np.save("csm.npy", csm.numpy())
    Image.fromarray(texture(32, 40)).save("a.jpg")
    status, lines = Terminal("recon", "raw.npy", "--out", "r.h5", "--method", "zero-filled").end()
    assert status == 0
    assert lines[0].split() == ["k-space", "slice", "method", "R", "time", "NRMSE", "[90", "%]", "score"]
    assert lines[1].split() == ["s", "%", "0–100"]
    assert [line.split()[:4] for line in lines[2:4]] == [["raw.npy", str(k), "zero-filled", "1.00"] for k in range(2)]
    assert any(line.startswith("r.h5: 2 slices by zero-filled in ") for line in lines[4:])
    tokens = ("--method", "zero-filled", "--coil-maps", "csm.npy", "--weights", weights, "--folds", "2",
              "--acceleration", "2")  # fmt: skip
    status, lines = Terminal("check", "raw.npy", *tokens).end()
    assert status == 0
    assert lines[0].split() == [
        "k-space",
        "slice",
        "R",
        "off",
        "data",
        "score",
        "held",
        "out",
        "missing",
        "sure",
        "note",
    ]
    assert [line.split()[:3] for line in lines[2:4]] == [["raw.npy", str(k), "2.00"] for k in range(2)]
    mean = next(line for line in lines[4:] if line.startswith("raw.npy"))
    scores = [float(line.split()[4]) for line in (*lines[2:4], mean)]
    assert scores[2] == pytest.approx((scores[0] + scores[1]) / 2, abs=0.11)
    status, lines = Terminal("restore", "a.jpg", "--out", "out", "--model", "srcnn").end()
    assert status == 0
    assert [line.split() for line in lines[:2]] == [
        ["JPEG", "restored", "weights", "chroma"], ["a.jpg", "out/a.png", "srcnn-gray", "grey"],
    ]  # fmt: skip


def test_signal_that_cannot_be_caught_leaves_whole_rows(long, weights):
    command = [*MRIQF, "score", long, "--weights", weights, "--csv", "s.csv"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not Path("s.csv").exists() or Path("s.csv").read_bytes().count(b"\n") < 20:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert Path("s.csv").read_bytes().endswith(b"\n")
    assert len(rows("s.csv")) >= 19
