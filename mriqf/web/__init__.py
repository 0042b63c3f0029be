"""A page that scores images in the browser: the parts that `mriqf export-web` puts together."""

from mriqf.web.page import page, parameters
from mriqf.web.runtime import RUNTIME, Runtime, fetch, read_runtime

__all__ = ["RUNTIME", "Runtime", "fetch", "page", "parameters", "read_runtime"]
