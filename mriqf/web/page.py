"""The page: markup, style, modules, runtime and network in one file, which asks nothing of any network.

One file, because a browser lets a page that was opened from a disk load no other: with everything in it, the page works
from a disk, a mail or a web server alike. Its policy forbids every connection, so that images cannot leave the machine.
"""

import base64
import dataclasses
import gzip
import hashlib
import html
import json
import re
from contextlib import suppress
from importlib.resources import files
from typing import Any

from mriqf import __version__
from mriqf.calibration import Calibration
from mriqf.calibration.calibration import REFUSED
from mriqf.html.pictures import colours
from mriqf.predictors.base import ErrorModel
from mriqf.predictors.unit import BEST, DOUBLING
from mriqf.scoring.slices import SMALLEST
from mriqf.web.runtime import RUNTIME, Runtime

IMPORT = re.compile(r'^import (?:\* as \w+|\{([^}]*)\}) from "([^"]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const) (\w+))", re.MULTILINE)
Parameters = dict[str, Any]


def parameters(model: ErrorModel, calibration: Calibration | None) -> Parameters:
    """A network and its calibration as the page's script has to know them: plain JSON values."""
    known = None
    if calibration is not None:
        known = {"nrmse": dataclasses.asdict(calibration.nrmse), "domain": dataclasses.asdict(calibration.domain)}
    cut = None
    if calibration is not None:
        with suppress(ValueError):  # nothing is known of the usual limit
            found = calibration.cut_off()
            cut = {"score": found.score, "limit": found.limit, "withinRejected": found.within_rejected}
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
        "calibration": known,
        "cutOff": cut,
        "colours": colours(range(101)),
    }


def page(network: bytes, known: Parameters, runtime: Runtime) -> str:
    """The page in HTML. The same parts give the same page.

    Parameters
    ----------
    network
        An ONNX file of a predictor of errors, as `mriqf export` writes it.
    known
        Its `parameters`.
    runtime
        The program that runs it: `read_runtime`.
    """
    style, script = _part("style.css"), joined("page.js")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}' 'wasm-unsafe-eval'; worker-src blob:; "
        f"style-src '{_hash(style)}'; base-uri 'none'; form-action 'none'"
    )
    markup = _part("index.html")
    for mark, text in (
        ("%POLICY%", html.escape(policy)), ("%STYLE%", style), ("%RUNTIME%", RUNTIME),
        ("%PARAMETERS%", _inert(json.dumps(known, allow_nan=False, separators=(",", ":")))),
        ("%WASM%", _packed(runtime.binary)), ("%NETWORK%", _packed(network)),
        ("%WORKER%", _worker(runtime)), ("%SCRIPT%", script),
    ):  # fmt: skip
        markup = markup.replace(mark, text, 1)
    return markup


def joined(entry: str) -> str:
    """A module and all that it imports as one script: each is a function that returns what it exports."""
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
    text = IMPORT.sub(lambda found: f'const {{{found[1]}}} = modules["{found[2]}"];\n' if found[1] else "", text)
    return f'modules["./{name}"] = (() => {{\n{EXPORT.sub("", text)}return {{ {exports} }};\n}})();\n'


def _imported(name: str) -> list[str]:
    return [found[2].removeprefix("./") for found in IMPORT.finditer(_part(name)) if found[2].startswith("./")]


def _worker(runtime: Runtime) -> str:
    """Script of the worker; nothing in it can end the element that it stands in."""
    text = f"{runtime.script}\n{joined('worker.js')}"
    if re.search(r"</script|<!--", text, re.IGNORECASE):
        raise ValueError("the runtime's script holds a mark of HTML: take the version that is named")
    return text


def _part(name: str) -> str:
    return files("mriqf.web").joinpath(name).read_text(encoding="utf-8")


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii")


def _hash(text: str) -> str:
    """As a policy names what it allows."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _inert(text: str) -> str:
    """JSON in which nothing can end the element that it stands in."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
