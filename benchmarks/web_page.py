"""Start-up time of the page of `mriqf export-web`, time of a slice there and in Python, and their largest difference.

    python -m benchmarks.web_page SITE [--slices 8]

SITE is the folder that `mriqf export-web SITE` wrote. Slices are noisy copies of matplotlib's sample slice of a head
(256 × 256), as one NIfTI volume; Python scores the same file by `mriqf.Scorer`, in single precision as the page does,
and by default, all on one core. Seconds of a processor, which other programs change less than those of the clock, are
of the whole browser, and of Python. The reference images are those of tests/reference_scores.csv, which has scores of
the page's weights. Needs Linux and Chromium. Prints a table.
"""

import argparse
import csv
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch

import mriqf

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "mriqf" / "scoring")]
Browser = import_module("chromium").Browser
sample_slices = import_module("dicom_export").sample_slices
reference = import_module("test_reference_scores")


def main() -> None:
    """Time the page, then Python."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path)
    parser.add_argument("--slices", type=int, default=8)
    options = parser.parse_args()
    page = (options.site / "index.html").absolute()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "head.nii.gz")
        slices = sample_slices(options.slices).astype(np.float32)
        noise = np.random.default_rng(0).normal(0, 8, slices.shape)
        nibabel.save(nibabel.Nifti1Image(np.abs(slices + noise).astype(np.float32).T, np.eye(4)), path)
        browser = Browser(Path(folder, "profile"))
        try:
            load, seconds = in_browser(browser, page, path, options.slices)
            slices_off, reference_off = differences(browser, Path(folder), path)
        finally:
            browser.close()
        exact, default = (in_python(mriqf.Scorer(exact=kind), path) for kind in (True, False))
    rows = {
        "size of the page": f"{page.stat().st_size / 1e6:.1f} MB",
        "from opening the page to *Ready*": told(*load),
        "a slice of 256 × 256 on the page": told(*seconds),
        "the same in Python, single precision": told(*exact),
        "the same in Python, as by default": told(*default),
        "largest difference of their scores, single precision": f"{slices_off:.4f} points",
        "the same of the reference images, from their table": f"{reference_off:.4f} points",
    }
    print("| | |\n|---|---|")
    for key, value in rows.items():
        print(f"| {key} | {value} |")


def told(clock: float, processor: float) -> str:
    """Seconds in words."""
    return f"{clock:.2f} s, {processor:.2f} s of a processor"


def in_browser(browser: Any, page: Path, path: Path, count: int) -> list[tuple[float, float]]:
    """Seconds until the page is ready, and those a slice: by the clock and of a processor."""
    seconds = []
    start, used = time.perf_counter(), processor_time(os.getpid())
    browser.open(page)
    wait(browser, lambda said: said == "Ready.")
    seconds.append((time.perf_counter() - start, processor_time(os.getpid()) - used))
    start, used = time.perf_counter(), processor_time(os.getpid())
    drop(browser, path)
    wait(browser, lambda said: said == "Ready. 1 scored.")
    seconds.append(((time.perf_counter() - start) / count, (processor_time(os.getpid()) - used) / count))
    return seconds


def processor_time(parent: int) -> float:
    """Seconds of a processor that all processes below one have used, without itself."""
    seconds = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == parent:
            seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            seconds += processor_time(int(path.parent.name))
    return seconds


def differences(browser: Any, folder: Path, path: Path) -> tuple[float, float]:
    """Largest difference from Python, in points, over the slices that the page has scored and the reference images."""
    expected = {image: value for (name, image), value in reference.table().items() if name == "qf-mri"}
    images = reference.images(1)
    for name, pixels in images.items():
        np.save(folder / f"{name}.npy", pixels)
    drop(browser, *(folder / f"{name}.npy" for name in images))
    wait(browser, lambda said: said == f"Ready. {len(images) + 1} scored.")
    browser.ask("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    browser.run("document.getElementById('save').click()")
    until = time.monotonic() + 60
    while not (folder / "scores.csv").exists():
        if time.monotonic() > until:
            raise TimeoutError("the page saves no table")
        time.sleep(0.05)
    with (folder / "scores.csv").open(newline="") as file:
        shown = {(row["input"], row["slice"]): float(row["score"]) for row in csv.DictReader(file) if row["slice"]}
    scored = mriqf.Scorer(exact=True)(mriqf.read(path)).slices
    return (
        max(abs(shown[path.name, str(one.index)] - one.value) for one in scored),
        max(abs(shown[f"{name}.npy", "0"] - expected[name]) for name in images),
    )


def drop(browser: Any, *paths: Path) -> None:
    """Files onto the page."""
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.ask("Input.dispatchDragEvent", type=kind, x=200, y=200, data=data)


def wait(browser: Any, done: Callable[[str], bool]) -> None:
    """Until the page says so."""
    until = time.monotonic() + 600
    while not done(browser.run("document.getElementById('status').textContent")):
        if time.monotonic() > until:
            raise TimeoutError("the page does not get ready")
        time.sleep(0.02)


def in_python(scorer: mriqf.Scorer, path: Path) -> tuple[float, float]:
    """Seconds a slice, of the second time, by the clock and of a processor."""
    scorer(mriqf.read(path))
    start, used = time.perf_counter(), time.process_time()
    count = len(scorer(mriqf.read(path)).slices)
    return (time.perf_counter() - start) / count, (time.process_time() - used) / count


if __name__ == "__main__":
    main()
