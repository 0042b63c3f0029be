"""Configuration of Sphinx: make docs."""

import importlib
import sys
from pathlib import Path

from sphinx.application import Sphinx

import mriqf

sys.path.insert(0, str(Path(__file__).parent))
import pages

project = "mriqf"
author = copyright = "The mriqf developers"  # noqa: A001 (Sphinx's name)
version = release = mriqf.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["generated/failures.md", "generated/browser.md"]  # parts of meaning.md and web.md
default_role = "py:obj"  # names in docstrings become links where there is something to link to

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_custom_sections = ["Returns"]  # text, without a type: that stands in the signature
napoleon_google_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "mriqf"
html_show_sourcelink = False
html_extra_path = ["generated/hosted"]  # by docs/browser.py
html_copy_source = False


def missing(*modules: str) -> list[str]:
    """Modules that cannot be imported."""
    names = []
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception:  # an installed package may be broken
            names.append(name)
    return names


autodoc_mock_imports = missing("torchmetrics")


def plain_attributes(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:  # noqa: ARG001
    """Keep Napoleon from reading what stands before a colon as the type: an empty comment comes first."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]


def repository_links(app: Sphinx, docname: str, source: list[str]) -> None:  # noqa: ARG001
    """Lead links into the repository, which work where the page is read there, to pages of the guide."""
    if not docname.startswith("generated/"):
        folder = (pages.DOCS / docname).parent
        source[0] = pages.relink(source[0], folder, folder)


def setup(app: Sphinx) -> None:
    """Connect the above, before Napoleon."""
    app.connect("source-read", repository_links)
    app.connect("autodoc-process-docstring", plain_attributes, priority=400)
