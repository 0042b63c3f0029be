"""Damaged and malicious files given to the command line.

    python -m benchmarks.hostile [--rounds 40]

Every file goes through the commands as a user would type them, in a process of its own that is measured from outside.
Prints a table: what was done to the files, how many there were, how many were read, refused by one line, refused with
other lines beside it (of libraries written in C), ended by a traceback or a dead process, took longer than 10 s of a
processor, or gave no answer within a minute on a busy machine; the greatest memory above that before the file was
opened, and the greatest time of a processor.
"""

import argparse
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.hostile_files import COMMANDS, CRAFTED, DAMAGES, IMAGES, KSPACE, OTHERS, RAW, STACK, damage

SECONDS = 10  # processor time that a file may take
PATIENCE = 60  # on a machine that others use as well
ROOM = 6 * 2**30  # bytes of address space above those of an idle worker
COLUMNS = ("files", "read", "refused", "with other lines", "crash", f"> {SECONDS} s", "peak MiB", "peak s")
OK = ("error: ", "mriqf: ", "warning: ")


def main() -> None:
    """Print the table; and, on standard error, each file that was neither read nor refused by one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="damages of each kind to a file of each format")
    parser.add_argument("--only", default="", help="kinds of damage whose name begins like this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print the outcome of every file")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work()
        return
    rows: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(COLUMNS, 0))
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(Path(folder))
        for number, (kind, name, command, path) in enumerate(
            files(Path(folder), options.rounds, options.seed, options.only)
        ):
            result = worker.run(arguments(command, path, Path(folder)))
            if options.verbose:
                print(kind, name, command, result, file=sys.stderr, flush=True)
            row = rows[kind]
            row["files"] += 1
            row[result["outcome"]] += 1
            row["peak MiB"] = max(row["peak MiB"], result["peak"])
            row["peak s"] = max(row["peak s"], result["seconds"])
            if result["outcome"] not in ("read", "refused") or result["peak"] > 1024:
                print(f"{number}\t{kind}\t{name}\t{command}\t{result}", file=sys.stderr, flush=True)
        worker.stop()
    print("kind", *COLUMNS, sep="\t")
    for kind, row in rows.items():
        print(kind, *(f"{row[column]:.{'1f' if column == 'peak s' else '0f'}}" for column in COLUMNS), sep="\t")
    total = {c: (max if c.startswith("peak") else sum)(row[c] for row in rows.values()) for c in COLUMNS}
    print("all", *(f"{total[column]:.{'1f' if column == 'peak s' else '0f'}}" for column in COLUMNS), sep="\t")


def files(folder: Path, rounds: int, seed: int, only: str) -> Iterator[tuple[str, str, str, Path]]:
    """Damage, file name, the command that reads it, and the file; each is removed before the next is made."""
    for name, make in (IMAGES | RAW | OTHERS).items():
        with tempfile.TemporaryDirectory(dir=folder) as place:
            path = make(Path(place, name))
            if "untouched".startswith(only):
                yield "untouched", name, COMMANDS[name], path
            whole = path.read_bytes()
            for kind in DAMAGES:
                rng = np.random.default_rng([seed, len(name), len(kind)])
                for _ in range(rounds if kind.startswith(only) else 0):
                    path.write_bytes(damage(kind, whole, rng))
                    yield kind, name, COMMANDS[name], path
    for number, (kind, command, make) in enumerate(CRAFTED):
        if kind.startswith(only):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                yield kind, str(number), command, make(Path(place))


def arguments(command: str, path: Path, folder: Path) -> list[str]:
    """Arguments as a user would type them."""
    given, out = str(path), str(folder / "out")
    np.save(folder / "good.npy", STACK[:1])
    match command:
        case "score":
            return ["score", given, "--csv", out + ".csv", "--map-dir", out, "--force"]
        case "recon":
            return ["recon", given, "--out", out + ".npy", "--method", "zero-filled", "--force"]
        case "restore":
            return ["restore", given, "--model", "srcnn", "--out", out, "--force"]
        case "report":
            return ["report", given, "--out", out + ".html", "--force"]
        case "dataset":
            return ["report", str(path.parent), "--out", out + ".html", "--force"]
        case "manifest":
            return ["data", "list", given, "--data", str(folder)]
        case "weights":
            return ["score", str(folder / "good.npy"), "--weights", given]
        case _:
            return ["score", str(folder / "good.npy"), "--calibration", given]


class Worker:
    """A process that runs commands; a new one takes the place of one that died or was stopped."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, tokens: list[str]) -> dict:
        """Outcome, seconds, peak memory in MiB and, where there is something to say, what was printed."""
        if self._process is None:
            self._start()
        result = self._ask(tokens, PATIENCE)
        if result is None:
            dead = self._process is not None and self._process.poll() is not None
            self.stop()
            outcome = "crash" if dead else COLUMNS[5]
            return {"outcome": outcome, "seconds": 0, "peak": 0, "said": "process died" if dead else "no answer"}
        return {"outcome": classify(result), **result}

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()  # closes its pipes
        self._process = None

    def _start(self) -> None:
        command = [sys.executable, "-W", "always", "-m", "benchmarks.hostile", "--worker"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        np.save(self._folder / "good.npy", STACK[:1])
        np.save(self._folder / "kspace.npy", KSPACE[0])
        for command, name in (
            ("score", "good.npy"),
            ("recon", "kspace.npy"),
        ):  # so that no file pays for imports
            if self._ask(arguments(command, self._folder / name, self._folder), 300) is None:
                raise RuntimeError("a worker reads no file at all")

    def _ask(self, tokens: list[str], seconds: float) -> dict | None:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(tokens).encode() + b"\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        line = process.stdout.readline() if ready else b""
        return json.loads(line) if line else None


def classify(result: dict) -> str:
    """Column that a file is counted in."""
    if result["raised"]:
        return "crash"
    if result["seconds"] > SECONDS:
        return COLUMNS[5]
    lines = result["said"].splitlines()
    if result["status"] == 0:
        return "read" if not any("Warning" in line or "Traceback" in line for line in lines) else "with other lines"
    return "refused" if len(lines) == 1 and lines[0].startswith(OK) else "with other lines"


def work() -> None:
    """Run the commands that come by standard input, one a line."""
    from mriqf.cli import main as run

    answers = os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    limited = False
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)  # standard error of Python and of C
        for number, line in enumerate(sys.stdin):
            if number == 2 and not limited:
                used = 4096 * int(Path("/proc/self/statm").read_text().split()[0])
                resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
                limited = True
            Path("/proc/self/clear_refs").write_text("5")
            before = memory("VmRSS")
            said.truncate(0)
            said.seek(0)
            start, raised, status = time.process_time(), "", None
            try:
                status = run(json.loads(line))
            except BaseException as error:
                raised = repr(error)[:300]
            sys.stderr.flush()
            said.seek(0)
            text = said.read().decode(errors="replace")
            result = {
                "status": status,
                "raised": raised,
                "said": text[:2000],
                "seconds": round(time.process_time() - start, 2),
                "peak": round((memory("VmHWM") - before) / 1024, 1),
            }
            print(json.dumps(result), file=answers, flush=True)


def memory(name: str) -> int:
    """Memory of this process in KiB: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
