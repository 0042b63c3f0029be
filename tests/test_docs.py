"""Examples in docstrings and pages run; commands, names, files and links in them exist."""

import ast
import doctest
import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest
from cyclopts import CycloptsError

from mriqf.cli import app

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for package in ("mriqf", "recon") for path in (ROOT / package).rglob("*.py"))
RESULTS = sorted((ROOT / "docs" / "results").glob("*.md"))
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *RESULTS]
CARDS = sorted(ROOT.glob("*/pretrained/*.md"))
README = ROOT / "README.md"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
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
    names = {test.name for _, test in (parameters.values for parameters in DOCSTRINGS)}
    assert names >= {"score", "read", "compress", "draw", "effective_acceleration", "QFLoss"}


def blocks(path, language):
    """Code blocks of a page in one language, without those marked as fragments."""
    matches = BLOCK.findall(path.read_text(encoding="utf-8"))
    return [code for tag, fragment, code in matches if tag == language and not fragment]


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
    csm = recon.surface_coils(4, images.shape[1:], seed=0)
    with h5py.File("kspace.h5", "w") as file:
        file["kspace"] = recon.simulate_kspace(torch.from_numpy(images[:, None]) + 0j, csm, 5.0, seed=0).numpy()


PYTHON = [page for page in (*PAGES, README) if blocks(page, "python")]


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
    for path in [*PAGES, README, *CARDS]
    for tokens in commands(path)
    if "mriqf" in tokens
]


@pytest.mark.parametrize("tokens", COMMANDS)
def test_commands_of_pages_are_understood(tokens):
    command, *_ = app.parse_args(tokens, print_error=False, exit_on_error=False)
    assert command


def test_readme_marks_no_python_as_a_fragment():
    tags = [(tag, fragment) for tag, fragment, _ in BLOCK.findall(README.read_text(encoding="utf-8"))]
    assert tags.count(("python", "")) >= 1
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
    for card in CARDS:
        assert f"<generated/{card.stem}>" in listed


def test_pages_need_no_network():
    for path in [*PAGES, ROOT / "docs" / "conf.py", *(ROOT / "docs" / "api").glob("*.md")]:
        assert not re.search(r"!\[[^\]]*\]\(https?:|<script|<img|<link", path.read_text(encoding="utf-8")), path


LINK = re.compile(r"\[[^\]]+\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize(
    "path",
    [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "data_manifests" / "README.md", *CARDS, *PAGES],
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_links_lead_to_files(path):
    targets = [path.parent / target for target in LINK.findall(path.read_text(encoding="utf-8"))]
    generated = ROOT / "docs" / "generated"
    assert not [target for target in targets if not target.exists() and generated not in target.parents]


def test_readme_is_short_and_its_picture_small():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150
    assert 20_000 < (ROOT / "docs" / "demo.png").stat().st_size < 150_000


def test_figures_of_the_readme_stand_in_the_results():
    """Each number of the headline tables, as it stands, is in a table or a sentence of docs/results."""
    section = README.read_text(encoding="utf-8").partition("## Results")[2].partition("## Weights")[0]
    cells = [cell for row in re.findall(r"^\|.*\|$", section, re.MULTILINE) for cell in row.split("|")[2:-1]]
    results = "\n".join(path.read_text(encoding="utf-8") for path in RESULTS)
    numbers = [number for cell in cells for number in re.findall(r"[−+]?\d*\.\d+", cell)]
    assert len(numbers) > 40
    assert not [number for number in numbers if not re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", results)]


@pytest.mark.parametrize("path", [path for path in RESULTS if path.stem != "index"], ids=lambda path: path.stem)
def test_tables_of_results_stand_under_the_command_that_prints_them(path):
    text = path.read_text(encoding="utf-8")
    table = re.search(r"^\|", text, re.MULTILINE)
    assert "```sh\n" in text[: table.start() if table else None]
    assert f"({path.name})" in (path.parent / "index.md").read_text(encoding="utf-8")
    for module in re.findall(r"python -m (benchmarks\.\w+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


def guide_pages(name="pages"):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_guide_leads_links_of_the_repository_to_its_own_pages():
    pages, results = guide_pages(), ROOT / "docs" / "results"
    text = "[a](../../mriqf/pretrained/qf-mri.md#b) [c](../../notebooks/06_qf_as_loss.ipynb) [d](../score.md) [e](../x)"
    moved = "[a](../generated/qf-mri.md#b) [c](../generated/gallery.md#06_qf_as_loss) [d](../score.md) [e](../x)"
    assert pages.relink(text, results, results) == moved
    assert pages.relink("[a](../../LICENSE)", results, results) == "a"
    kept = "![a](../../x.png) [b](https://example.org/x) [c](#d)"
    assert pages.relink(kept, results, results) == kept


def test_guide_is_built_without_npm_too(tmp_path, monkeypatch, capsys):
    browser = guide_pages("browser")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MRIQF_WEB_RUNTIME", raising=False)
    browser.main(tmp_path)
    assert (tmp_path / "browser.md").read_text() == browser.ABSENT
    assert list((tmp_path / "hosted").iterdir()) == []
    assert "does not host the page: onnxruntime-web" in capsys.readouterr().err


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_can_be_read_without_running(path):
    """Every notebook keeps what it printed and drew, and nothing of the machine that it ran on."""
    assert path.stat().st_size < 300_000
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert not re.search(
        r"/(tmp|home|root|work)/|\d{4}-\d\d-\d\dT", json.dumps(outputs + [c["metadata"] for c in cells])
    )
