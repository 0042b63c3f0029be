"""Start-up time of the page of `mriqf export-web`, and time of a slice there and in Python, both on one core.

    python -m benchmarks.web_page SITE [--slices 8]

SITE is the folder that `mriqf export-web SITE` wrote. Slices are noisy copies of matplotlib's sample slice of a head
(256 × 256), as one NIfTI volume; Python scores the same file by `mriqf.Scorer`, in single precision as the page does,
and by default. Needs Chromium. Prints a table.
"""

import argparse
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

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
Browser = import_module("chromium").Browser
sample_slices = import_module("dicom_export").sample_slices


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
        finally:
            browser.close()
        exact, default = (in_python(mriqf.Scorer(exact=kind), path) for kind in (True, False))
    rows = {
        "size of the page": f"{page.stat().st_size / 1e6:.1f} MB",
        "from opening the page to *Ready*": f"{load:.1f} s",
        "a slice of 256 × 256 on the page": f"{seconds:.2f} s",
        "the same in Python, single precision": f"{exact:.2f} s",
        "the same in Python, as by default": f"{default:.2f} s",
    }
    print("| | |\n|---|---|")
    for key, value in rows.items():
        print(f"| {key} | {value} |")


def in_browser(browser: Any, page: Path, path: Path, count: int) -> tuple[float, float]:
    """Seconds until the page is ready, and a slice."""
    start = time.perf_counter()
    browser.open(page)
    wait(browser, lambda said: said == "Ready.")
    load = time.perf_counter() - start
    start = time.perf_counter()
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.ask("Input.dispatchDragEvent", type=kind, x=200, y=200, data=data)
    wait(browser, lambda said: said == "Ready. 1 scored.")
    return load, (time.perf_counter() - start) / count


def wait(browser: Any, done: Callable[[str], bool]) -> None:
    """Until the page says so."""
    until = time.monotonic() + 600
    while not done(browser.run("document.getElementById('status').textContent")):
        if time.monotonic() > until:
            raise TimeoutError("the page does not get ready")
        time.sleep(0.02)


def in_python(scorer: mriqf.Scorer, path: Path) -> float:
    """Seconds a slice, of the second time."""
    scorer(mriqf.read(path))
    start = time.perf_counter()
    result = scorer(mriqf.read(path))
    return (time.perf_counter() - start) / len(result.slices)


if __name__ == "__main__":
    main()
