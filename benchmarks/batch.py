"""Volumes an hour of `mriqf score --out`, its memory, and the cost of an archive.

    python -m benchmarks.batch [--volumes 1000] [--kill] [--price 0.05]

Makes volumes in a temporary folder, scores them with 1 and with 2 workers, and models more workers and more volumes
from what reading, scoring and keeping a volume cost here. With --kill, a run in which a worker and then the command
itself are killed by signal 9 is completed by a second one, and their table is compared with an undisturbed run's.
"""

import argparse
import csv
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mriqf.batch import Dataset, read_rows, scatter, workers
from mriqf.commands.score_batch import Options, for_workers, score_path
from mriqf.io import find_inputs

COUNTS = (1, 2, 8, 32, 128, 512)
ARCHIVES = (10**5, 10**6)


def main() -> None:
    """Print the figures, one a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", type=int, default=20)
    parser.add_argument("--slices", type=int, default=8, help="of each volume")
    parser.add_argument("--size", type=int, default=128, help="rows and columns of a slice")
    parser.add_argument("--weights", default="qf-mri")
    parser.add_argument("--kill", action="store_true", help="kill a worker and the command, and check the table")
    parser.add_argument("--price", type=float, default=0.05, help="of a core for an hour")
    parser.add_argument(
        "--storage", type=float, default=1000, help="MB/s that the archive gives to all workers together"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "archive")
        size = make(archive, options.volumes, options.slices, options.size)
        print(f"{options.volumes} volumes of {options.slices} slices of {options.size}², {size / 1e6:.2f} MB each, "
              f"{os.cpu_count()} cores")  # fmt: skip
        paths = [str(path) for path in sorted(archive.iterdir())]
        runs = {count: steady(paths, options.weights, count, options.slices) for count in (1, 2)}
        print(f"2 workers against 1: {runs[2].rate / runs[1].rate:.2f} times as many volumes/s")
        kept = keeping(Path(folder), paths, options.weights)
        model(runs[1].cost, size, kept + runs[1].sending, options)
        if options.kill:
            killed(archive, Path(folder), options)


def make(folder: Path, volumes: int, slices: int, side: int) -> int:
    """Write volumes, all different; gives the bytes of one."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    inside = (x / 0.7) ** 2 + (y / 0.85) ** 2 < 1
    grain = np.abs(rng.standard_normal((4, slices, side, side)))
    for k in range(volumes):
        phase = k + np.arange(slices)[:, None, None]
        image = inside * (0.6 + 0.3 * np.sin(12 * x + phase) * np.cos(9 * y)) + 0.02 * grain[k % 4]
        np.save(folder / f"{k:06}.npy", (1000 * image).astype(np.float32))
    return (folder / "000000.npy").stat().st_size


@dataclass(frozen=True)
class Run:
    """Throughput of workers."""

    rate: float
    """Volumes a second, once all workers have begun."""
    cost: float
    """Processor seconds of a worker for a volume."""
    sending: float
    """Processor seconds of the command itself, with Dask's scheduler, without writing results."""


def steady(paths: list[str], weights: str, count: int, slices: int) -> Run:
    """Speed and memory of some workers."""
    task = partial(score_path, for_workers(_options(weights)))
    began = time.perf_counter()
    with workers(count) as client:
        first = client.run(lambda path: len(task(path)), paths[0])  # every worker loads the weights
        before, ready = client.run(_used), time.perf_counter()
        failed = [rows for _, rows in scatter(client, task, paths) if not isinstance(rows, list)]
        seconds, after = time.perf_counter() - ready, client.run(_used)
        busy = time.process_time()
        sending = sum(1 for _ in scatter(client, abs, range(200)))
        sending = (time.process_time() - busy) / sending
    if failed or set(first.values()) != {slices}:
        raise RuntimeError(f"volumes failed: {failed[:1]}")
    used = np.array([after[worker] for worker in after])
    spent, grown, _ = (used - np.array([before[worker] for worker in after])).T
    measured = Run(len(paths) / seconds, float(spent.sum()) / len(paths), sending)
    print(f"{count} workers: {measured.rate:.2f} volumes/s, {slices * measured.rate:.1f} slices/s, "
          f"{ready - began:.1f} s to start; "
          f"of a processor, {1000 * measured.cost:.0f} ms a volume, and {1000 * sending:.1f} ms to send it; "
          f"{spent.sum() / count / seconds:.0%} of each worker's time")  # fmt: skip
    print(f"a worker's memory: {used[:, 1].max():.0f} MiB, at most {used[:, 2].max():.0f}, "
          f"grown by {grown.max():.0f} over {len(paths)} volumes")  # fmt: skip
    return measured


def keeping(folder: Path, paths: list[str], weights: str) -> float:
    """Seconds of the command itself for a volume: one part of the dataset."""
    rows = score_path(for_workers(_options(weights)), paths[0])
    if isinstance(rows, str):
        raise RuntimeError(rows)
    dataset = Dataset(folder / "keeping", "0" * 16)
    began = time.perf_counter()
    for path in paths:
        dataset.write(dataset.part(path), rows)
    write = (time.perf_counter() - began) / len(paths)
    size = sum(file.stat().st_size for file in dataset.folder.iterdir()) / len(paths)
    began = time.perf_counter()
    again = Dataset(folder / "keeping", "0" * 16)
    done = sum(again.part(path) in again for path in find_inputs([str(folder / "archive")], print))
    resume = (time.perf_counter() - began) / len(paths)
    began = time.perf_counter()
    read_rows(dataset.folder)
    reading = (time.perf_counter() - began) / len(paths)
    print(f"a volume in the dataset: {1000 * write:.2f} ms to write, {size / 1000:.1f} kB, {1000 * reading:.2f} ms "
          f"to read; {1000 * resume:.3f} ms to find that it is done ({done} of {len(paths)})")  # fmt: skip
    return write


def model(seconds: float, size: int, kept: float, options: argparse.Namespace) -> None:
    """Cost of a million slices, and pace with more workers, until storage or the command is the limit.

    `seconds` of a worker's processor for a volume of `size` bytes, and `kept` seconds of the command itself, to send it
    and to keep its rows.
    """
    volume = size / (1e6 * options.storage)
    print(f"cost of a million slices: {1e6 / options.slices * seconds / 3600:.1f} core hours, "
          f"{1e6 / options.slices * seconds / 3600 * options.price:.2f} at {options.price:g} an hour")  # fmt: skip
    print("workers", "volumes/s", "bound by", *(f"hours for {n:,}" for n in ARCHIVES), sep="\t")
    for count in COUNTS:
        limits = {"computing": count / seconds, "storage": 1 / volume, "the command": 1 / kept}
        bound = min(limits, key=lambda name: limits[name])
        hours = "\t".join(f"{n / limits[bound] / 3600:.1f}" for n in ARCHIVES)
        print(f"{count}\t{limits[bound]:.1f}\t{bound}\t{hours}")
    print(f"storage is the limit from {seconds / volume:.0f} workers on, the command from {seconds / kept:.0f}")


def killed(archive: Path, folder: Path, options: argparse.Namespace) -> None:
    """Kill a worker after a third of the volumes, the command after two thirds, run it again, check the table."""
    import psutil

    out = folder / "killed"
    command = [sys.executable, "-m", "mriqf", "score", str(archive), "--weights", options.weights, "--workers", "2"]
    client = subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL)
    for share, what in ((1 / 3, "worker"), (2 / 3, "command")):
        while len(parts := _parts(out)) < share * options.volumes:
            if client.poll() is not None:
                raise RuntimeError("the run ended before it could be killed: give more volumes")
            time.sleep(0.01)
        children = psutil.Process(client.pid).children(recursive=True)
        spawned = [child.pid for child in children if "spawn_main" in " ".join(child.cmdline())]
        os.kill(spawned[0] if what == "worker" else client.pid, signal.SIGKILL)
        print(f"killed the {what} after {len(parts)} volumes")
    client.wait()
    before = _parts(out)
    began = time.perf_counter()
    subprocess.run([*command, "--out", str(out), "--csv", str(folder / "killed.csv")], check=True, capture_output=True)
    after = _parts(out)
    seconds = time.perf_counter() - began
    subprocess.run(
        [*command, "--out", str(folder / "whole"), "--csv", str(folder / "whole.csv")], check=True, capture_output=True
    )
    with (folder / "killed.csv").open(newline="") as file:
        keys = [(row["input"], row["slice"]) for row in csv.DictReader(file) if row["slice"]]
    same = (folder / "killed.csv").read_bytes() == (folder / "whole.csv").read_bytes()
    print(f"after the second run ({seconds:.1f} s): {len(after)} of {options.volumes} volumes, {len(keys)} rows, "
          f"{len(keys) - len(set(keys))} twice, {len(before.items() - after.items())} of {len(before)} done ones "
          f"repeated, table {'equal to' if same else 'OTHER THAN'} that of an undisturbed run")  # fmt: skip
    if not same or len(after) != options.volumes or before.items() - after.items():
        sys.exit(1)


def _options(weights: str) -> Options:
    return Options(weights, "auto", "auto", None, "slice", ":", None, None, False, "cpu", 8)


def _parts(folder: Path) -> dict[str, int]:
    """Parts of a dataset and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.parquet")}


def _used() -> tuple[float, float, float]:
    """Processor seconds, and current and peak memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return time.process_time(), pages * resource.getpagesize() / 2**20, peak


if __name__ == "__main__":
    main()
