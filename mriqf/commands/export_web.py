"""`mriqf export-web`: write a page that scores images in the browser."""

import tempfile
from importlib.resources import files
from pathlib import Path

from mriqf import web
from mriqf.adapters import onnx
from mriqf.calibration.file import attached
from mriqf.commands.options import say
from mriqf.commands.table import show
from mriqf.commands.table_file import writing
from mriqf.io import atomic_path
from mriqf.io.atomic import check_target
from mriqf.predictors.base import ErrorModel, load_predictor


def export_web(out: Path, *, model: str = "qf-mri", runtime: Path | None = None, force: bool = False) -> int:
    """Write a page that scores images where nothing is installed: a browser opens it, from a disk or a web server.

    The page is one file, index.html, with network, calibration and runtime in it, about 15 MB. Images that are dropped
    onto it stay on that machine: its policy allows no connection. Prints one tab-separated line: the page, its weights,
    size in MB.

    Parameters
    ----------
    out
        Folder to write index.html and licence.txt to.
    model
        Name or path of trained weights, of a predictor of errors. Their calibration, if there is one, goes along.
    runtime
        The npm package onnxruntime-web of the version that the page was tested with: its .tgz file, or a folder that it
        was unpacked to. Without it, npm is asked for the package, which needs a network.
    force
        Replace files that exist.

    Returns
    -------
    0.
    """
    network = load_predictor(model)
    if not isinstance(network, ErrorModel):
        raise ValueError(f"weights {model!r} tell {network.unit}, and the page shows errors: choose qf-mri")
    pages = out / "index.html", out / "licence.txt"
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    for path in pages:
        check_target(path, force)
    known = web.parameters(network, attached("auto", network, network.default_pool))
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if runtime is None:
            say(f"asks npm for {web.RUNTIME}")
        loaded = web.read_runtime(web.fetch(scratch) if runtime is None else runtime)
        onnx.export(model, scratch / "network.onnx")
        text = web.page((scratch / "network.onnx").read_bytes(), known, loaded)
    licence = files("mriqf.web").joinpath("licence.txt").read_text(encoding="utf-8")
    for path, content in zip(pages, (text, licence), strict=True):
        with writing(path), atomic_path(path, force) as temporary:
            temporary.write_text(content, encoding="utf-8")
    show("\t".join((str(pages[0]), network.name, f"{len(text.encode()) / 1e6:.2f}")))
    return 0
