"""What the documentation says can be done, can: examples in docstrings and pages, commands, names, files."""

import ast
import doctest
import re
import shlex
from pathlib import Path

import pytest
from cyclopts import CycloptsError

from mriqf.cli import app

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for package in ("mriqf", "recon") for path in (ROOT / package).rglob("*.py"))
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)( fragment)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def docstrings():
    """Docstrings with examples that run, each with its module, name and line.

    They are read from the source: under the annotation checks functions are wrapped, and `doctest` finds none.
    """
    for path in SOURCES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                continue
            name, text = getattr(node, "name", module), ast.get_docstring(node, clean=True) or ""
            test = doctest.DocTestParser().get_doctest(text, {}, name, str(path), 0)
            if not all(example.options.get(doctest.SKIP) for example in test.examples):
                yield pytest.param(module, test, id=f"{module}:{name}")


DOCSTRINGS = list(docstrings())


@pytest.mark.parametrize(("module", "test"), DOCSTRINGS)
def test_docstring_examples_run(module, test):
    import importlib

    test.globs = dict(vars(importlib.import_module(module)))
    said = []
    failed, tried = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=said.append)
    assert tried
    assert not failed, "".join(said)


def test_central_functions_have_examples():
    names = {test.name for _, test in (found.values for found in DOCSTRINGS)}
    assert names >= {"score", "read", "compress", "draw", "effective_acceleration", "QFLoss"}


def blocks(path, language):
    """Code blocks of a page in one language, without those marked as fragments."""
    found = BLOCK.findall(path.read_text(encoding="utf-8"))
    return [code for tag, fragment, code in found if tag == language and not fragment]


@pytest.fixture
def files(tmp_path, monkeypatch, disc):
    """The files that pages take for granted, in the working folder."""
    import h5py
    import nibabel
    import numpy as np
    import torch

    import recon

    monkeypatch.chdir(tmp_path)
    images = disc(2)
    nibabel.save(nibabel.Nifti1Image(images.T, np.eye(4)), "recon.nii.gz")
    csm = recon.loops(4, images.shape[1:], seed=0)
    with h5py.File("kspace.h5", "w") as file:
        file["kspace"] = recon.simulate_kspace(torch.from_numpy(images[:, None]) + 0j, csm, 5.0, seed=0).numpy()


PYTHON = [page for page in (*PAGES, ROOT / "README.md") if blocks(page, "python")]


@pytest.mark.usefixtures("files", "unchecked")  # as users run it
@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.stem)
def test_python_of_a_page_runs_from_top_to_bottom(path):
    names = {}
    for code in blocks(path, "python"):
        exec(compile(code, str(path), "exec"), names)


def commands(path):
    """Command lines of a page that call mriqf, as tokens."""
    for code in blocks(path, "sh"):
        for line in code.replace("\\\n", " ").splitlines():
            tokens = shlex.split(line.replace("…", ""), comments=True)
            while "&&" in tokens:
                yield tokens[: tokens.index("&&")]
                tokens = tokens[tokens.index("&&") + 1 :]
            yield tokens


COMMANDS = [
    pytest.param(tokens[tokens.index("mriqf") + 1 :], id=f"{path.stem}: {' '.join(tokens)}")
    for path in [*PAGES, ROOT / "README.md", *sorted((ROOT / "mriqf" / "pretrained").glob("*.md"))]
    for tokens in commands(path)
    if "mriqf" in tokens
]


@pytest.mark.parametrize("tokens", COMMANDS)
def test_commands_of_pages_are_understood(tokens):
    command, *_ = app.parse_args(tokens, print_error=False, exit_on_error=False)
    assert command


def test_readme_marks_no_python_as_a_fragment():
    tags = [(tag, fragment) for tag, fragment, _ in BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))]
    assert tags.count(("python", "")) >= 2
    assert ("python", " fragment") not in tags


def test_commands_are_found():
    assert len(COMMANDS) > 50
    with pytest.raises(CycloptsError, match="--colour"):
        app.parse_args(["score", "a.npy", "--colour"], print_error=False, exit_on_error=False)


@pytest.mark.parametrize("package", ["mriqf", "recon", "mriqf.restore"])
def test_public_names_are_in_the_reference(package):
    import importlib

    page = ROOT / "docs" / "api" / f"{package.rpartition('.')[2]}.md"
    directives = re.findall(rf"automodule:: {re.escape(package)}\n((?:   .*\n)*)", page.read_text(encoding="utf-8"))
    (options,) = directives
    assert ":members:" in options
    assert ":imported-members:" in options
    left_out = {name.strip() for name in ",".join(re.findall(r":exclude-members:(.*)", options)).split(",")}
    elsewhere = {"effective_acceleration"}  # with the masks
    assert not left_out & set(importlib.import_module(package).__all__) - elsewhere


def test_every_card_is_in_the_list():
    listed = (ROOT / "docs" / "cards.md").read_text(encoding="utf-8")
    for card in (ROOT / "mriqf" / "pretrained").glob("*.md"):
        assert f"<generated/{card.stem}>" in listed


def test_pages_need_no_network():
    for path in [*PAGES, ROOT / "docs" / "conf.py", *(ROOT / "docs" / "api").glob("*.md")]:
        assert not re.search(r"!\[[^\]]*\]\(https?:|<script|<img|<link", path.read_text(encoding="utf-8")), path
