"""Page as one HTML file with style, modules, runtime and neural network, which loads nothing from a network.

One file, because a browser lets a page that was opened from a disk load no other: with everything in it, the page works
from a disk, a mail or a web server alike. Its policy forbids every connection, so that images cannot leave the machine.
"""

import base64
import dataclasses
import gzip
import html
import re
from contextlib import suppress
from importlib.resources import files
from typing import Any

from mriqf import __version__
from mriqf.calibration import Calibration
from mriqf.calibration.calibration import REFUSED
from mriqf.html.page import embedded_json, policy_hash
from mriqf.html.pictures import colours
from mriqf.predictors.base import ErrorModel
from mriqf.predictors.nrmse import NRMSEPredictor
from mriqf.predictors.unit import BEST, DOUBLING
from mriqf.scoring.slices import SMALLEST
from mriqf.web.runtime import RUNTIME, Runtime

IMPORT = re.compile(r'^import (?:\* as \w+|\{([^}]*)\}) from "([^"]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const) (\w+))", re.MULTILINE)
Parameters = dict[str, Any]


def parameters(model: ErrorModel, calibration: Calibration | None) -> Parameters:
    """Properties of a network and its calibration that the script of the page needs, as plain JSON values."""
    known = None
    if calibration is not None:
        known = {"nrmse": dataclasses.asdict(calibration.nrmse), "domain": dataclasses.asdict(calibration.domain)}
    cut = None
    if calibration is not None:
        with suppress(ValueError):  # nothing is known of the usual limit
            usual = calibration.cut_off()
            cut = {"score": usual.score, "limit": usual.limit, "withinRejected": usual.within_rejected}
    return {
        "version": __version__,
        "weights": model.name,
        "unit": model.unit,
        "pool": model.default_pool,
        "stride": model.stride,
        "leastSide": model.receptive_field,
        "smallest": SMALLEST,
        "zeroBased": model.zero_based,
        "best": BEST,
        "doubling": DOUBLING,
        "refused": REFUSED,
        "levels": model.levels.points() if isinstance(model, NRMSEPredictor) else None,
        "calibration": known,
        "cutOff": cut,
        "colours": colours(range(101)),
    }


def page(network: bytes, known: Parameters, runtime: Runtime) -> str:
    """HTML page; the same arguments give the same page.

    Parameters
    ----------
    network
        An ONNX file of a predictor of errors, as `mriqf export` writes it.
    known
        Its `parameters`.
    runtime
        Runtime of the network: `read_runtime`.
    """
    style, script = _part("style.css"), joined("page.js")
    policy = (
        f"default-src 'none'; script-src '{policy_hash(script)}' 'wasm-unsafe-eval'; worker-src blob:; "
        f"style-src '{policy_hash(style)}'; base-uri 'none'; form-action 'none'"
    )
    markup = _part("index.html")
    for mark, text in (
        ("%POLICY%", html.escape(policy)), ("%STYLE%", style), ("%RUNTIME%", RUNTIME),
        ("%PARAMETERS%", embedded_json(known)),
        ("%WASM%", _packed(runtime.binary)), ("%NETWORK%", _packed(network)),
        ("%WORKER%", _worker(runtime)), ("%SCRIPT%", script),
    ):  # fmt: skip
        markup = markup.replace(mark, text, 1)
    return markup


def joined(entry: str) -> str:
    """Bundle a module and its imports into one script, in which each is a function that returns its exports."""
    order: list[str] = []

    def visit(name: str) -> None:
        for other in _imported(name):
            visit(other)
        if name not in order:
            order.append(name)

    visit(entry)
    return '"use strict";\nconst modules = {};\n' + "".join(map(_wrapped, order))


def _wrapped(name: str) -> str:
    text = _part(name)
    exports = ", ".join(EXPORT.findall(text))
    text = IMPORT.sub(lambda match: f'const {{{match[1]}}} = modules["{match[2]}"];\n' if match[1] else "", text)
    return f'modules["./{name}"] = (() => {{\n{EXPORT.sub("", text)}return {{ {exports} }};\n}})();\n'


def _imported(name: str) -> list[str]:
    return [match[2].removeprefix("./") for match in IMPORT.finditer(_part(name)) if match[2].startswith("./")]


def _worker(runtime: Runtime) -> str:
    """Script of the worker, checked to hold no text that could end its HTML element."""
    text = f"{runtime.script}\n{joined('worker.js')}"
    if re.search(r"</script|<!--", text, re.IGNORECASE):
        raise ValueError("the runtime's script holds a mark of HTML: take the version that is named")
    return text


def _part(name: str) -> str:
    return files("mriqf.web").joinpath(name).read_text(encoding="utf-8")


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii")
