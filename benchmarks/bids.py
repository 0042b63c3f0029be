"""A large BIDS dataset with damaged scans, killed in the middle and continued: count of the scans accounted for.

    python -m benchmarks.bids FOLDER [--scans 5000]

Writes FOLDER/data: one slice of 64 × 64 a scan, made of matplotlib's sample slice of a head, with a sidecar, four scans
a participant. One in a hundred scans and one in a hundred sidecars is damaged, by `DAMAGES` in turn. Then `mriqf-bids`
is run as a user would: killed (SIGKILL) when half of the scans have a record, run again to its end, and for the group.
Prints a table.
"""

import argparse
import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np

SIDE = 64
EVERY = 100
"""One scan in so many is damaged."""
SUFFIXES = ("T1w", "T2w", "FLAIR", "PDw")
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",  # noqa: ARG005
    "cut short": lambda whole: whole[: len(whole) // 2],
    "no NIfTI": lambda whole: b"no image" * 100,  # noqa: ARG005
    "no gzip": lambda whole: gzip.decompress(whole),
    "a bit flipped": lambda whole: whole[: (k := len(whole) // 2)] + bytes([whole[k] ^ 1]) + whole[k + 1 :],
}


def main() -> None:
    """Make the dataset, run the command three times, print the outcome."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scans", type=int, default=5000)
    parser.add_argument("--nprocs", type=int, default=1)
    options = parser.parse_args()
    root, out = options.folder / "data", options.folder / "out"
    broken, sidecars = make(root, options.scans)
    app = [sys.executable, "-m", "mriqf.bids.app", str(root), str(out)]
    words = [*app, "participant", "--nprocs", str(options.nprocs)]
    start = time.monotonic()
    killed = run_killed(words, out, options.scans // 2)
    half = time.monotonic()
    kept = {path: path.stat().st_mtime_ns for path in recorded(out)}
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    end = time.monotonic()
    group = subprocess.run([*app, "group"], capture_output=True, text=True, check=False)
    last = time.monotonic()
    with (out / "group_not_scored.tsv").open(newline="") as file:
        listed = [row["source"] for row in csv.DictReader(file, delimiter="\t")]
    with (out / "group_quality.tsv").open(newline="") as file:
        scored = sum(1 for _ in file) - 1
    sound = [path for path in kept if "not_scored" not in json.loads(path.read_text())]
    untouched = sum(path.stat().st_mtime_ns == kept[path] for path in sound)
    named = sum(line.startswith("not scored: ") for line in again.stderr.splitlines())
    rows = {
        "files": f"{options.scans} scans and as many sidecars, of each {len(broken)} damaged",
        "killed (SIGKILL) after": f"{half - start:.0f} s, {len(kept)} scans with a record; exit status {killed}",
        "the same command again": f"{end - half:.0f} s; exit status {again.returncode}",
        "scores of the first run that were kept as they were": f"{untouched} of {len(sound)}",
        "scans with a score": str(scored),
        "scans named as not scored, with the reason": f"{named} in a line each, {len(listed)} in group_not_scored.tsv",
        "these are the damaged ones": "yes" if sorted(listed) == sorted(broken) else "NO",
        "table and page of the group": f"{last - end:.0f} s; exit status {group.returncode}",
        "damaged sidecars that it names": f"{sum(f'{path}: ' in group.stderr for path in sidecars)} of {len(sidecars)}",
    }
    print("| | |\n|---|---|")
    for key, value in rows.items():
        print(f"| {key} | {value} |")


def make(root: Path, count: int) -> tuple[list[str], list[str]]:
    """Write the dataset; gives the paths of the damaged scans and sidecars below it."""
    root.mkdir(parents=True)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "many", "BIDSVersion": "1.10.0"}))
    rng, head = np.random.default_rng(0), sample()
    broken: list[str] = []
    sidecars: list[str] = []
    kinds = list(DAMAGES.values())
    for k in range(count):
        subject, suffix = f"sub-{k // len(SUFFIXES):05d}", SUFFIXES[k % len(SUFFIXES)]
        path = root / subject / "anat" / f"{subject}_{suffix}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        noisy = head * rng.uniform(0.7, 1.3) + rng.normal(0, rng.uniform(2, 20), head.shape)
        image = nibabel.Nifti1Image(np.abs(noisy).astype(np.int16)[..., None], np.diag([4.0, 4.0, 4.0, 1.0]))
        whole = gzip.compress(image.to_bytes(), 1)
        if k % EVERY == EVERY // 2:
            whole = kinds[len(broken) % len(kinds)](whole)
            broken.append(path.relative_to(root).as_posix())
        path.write_bytes(whole)
        about = path.with_name(path.name.replace(".nii.gz", ".json"))
        text = json.dumps({"Manufacturer": f"maker {k % 3}", "AcquisitionDateTime": f"{2000 + k % 24}-01-01T00:00:00"})
        about.write_text(text[: -5 if k % EVERY == 0 else None])
        if k % EVERY == 0:
            sidecars.append(about.relative_to(root).as_posix())
    return broken, sidecars


def sample() -> np.ndarray:
    """A slice of a head at 64 × 64, cut out of the middle of its spectrum."""
    import matplotlib

    packed = Path(matplotlib.get_data_path(), "sample_data", "s1045.ima.gz").read_bytes()
    image = np.frombuffer(gzip.decompress(packed), ">u2").reshape(256, 256).astype(float)
    spectrum = np.fft.fftshift(np.fft.fft2(image))
    middle = slice(128 - SIDE // 2, 128 + SIDE // 2)
    return np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum[middle, middle]))) * (SIDE / 256) ** 2


def run_killed(words: list[str], out: Path, count: int) -> int:
    """Start the command, and kill it and its workers once `count` scans have a record; its exit status."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as run:
        while run.poll() is None and len(recorded(out)) < count:
            time.sleep(2)
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    return run.returncode


def recorded(out: Path) -> list[Path]:
    """Records of scans."""
    return list(out.glob("sub-*/anat/*_quality.json"))


if __name__ == "__main__":
    main()
