"""Who may import whom, and what an import costs."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for package in ("mriqf", "recon") for path in (ROOT / package).rglob("*.py"))
HEAVY = {
    "sigpy", "fastmri", "matplotlib", "nibabel", "torchvision", "pydicom", "h5py", "torchmetrics", "lightning",
    "pytorch_lightning", "onnx", "onnxruntime",
}  # fmt: skip


def imports(path: Path) -> set[str]:
    """Modules that a file imports anywhere, also in functions and by `import_module`, and names taken from them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            names |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    return names


def imported(path: Path) -> set[str]:
    """Top-level modules that a file imports."""
    return {name.split(".")[0] for name in imports(path)}


def packages() -> dict[str, set[str]]:
    """Imports between packages and modules directly below `mriqf`; those below `mriqf.studies` apart."""
    rooms = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SOURCES}
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] == "mriqf" and parts != ("mriqf", "__init__"):
            known = {name for name in imports(path) if name in rooms or f"{name}.__init__" in rooms}
            graph.setdefault(room(".".join(parts)), set()).update(map(room, known - {"mriqf"}))
    return {name: others - {name} for name, others in graph.items()}


def room(module: str) -> str:
    """Package that a module of `mriqf` belongs to."""
    parts = module.split(".")
    return ".".join(parts[: 3 if parts[1:2] == ["studies"] else 2])


def loaded(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `code`."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(ended.stderr.split())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    names = imported(path)
    package, *parts = path.relative_to(ROOT).parts
    assert not names & {"torchvision", "lightning", "pytorch_lightning"}
    if parts[0] != "adapters":
        assert not names & {"torchmetrics", "deepinv", "onnx", "onnxruntime"}
    if package == "recon":
        assert "mriqf" not in names
    elif parts[0] not in ("training", "studies", "commands"):
        assert "recon" not in names


def test_no_package_imports_one_that_imports_it():
    graphlib.TopologicalSorter(packages()).prepare()  # raises CycleError, which names the circle


def test_restore_needs_no_training_and_weights_know_no_network():
    graph = packages()
    assert graph["mriqf.restore"] <= {"mriqf.jpeg", "mriqf.tiles", "mriqf.weights"}
    assert graph["mriqf.weights"] <= {"mriqf.io"}


def test_sources_are_found():
    assert len([path for path in SOURCES if path.parts[-2] == "mriqf"]) > 5
    assert "torch" in imported(ROOT / "mriqf" / "predictors" / "qf.py")


def test_only_commands_know_adapters():
    knowing = {path.relative_to(ROOT).parts[1] for path in SOURCES if "mriqf.adapters" in path.read_text("utf-8")}
    assert knowing == {"adapters", "commands"}
    code = "import sys, mriqf.cli, mriqf.commands.score; [getattr(mriqf, name) for name in mriqf.__all__]"
    code += "; assert not any(name.startswith('mriqf.adapters') for name in sys.modules)"
    assert not loaded(code) & {"torchmetrics", "torchvision", "deepinv", "onnx", "onnxruntime"}


def test_import_is_light():
    assert not loaded("import mriqf") & (HEAVY | {"torch", "scipy"})
    assert (
        not loaded("import mriqf, mriqf.scoring.scorer; mriqf.load, mriqf.read, mriqf.jpeg, mriqf.QFPredictor") & HEAVY
    )


def test_import_of_recon_is_light():
    assert not loaded("import recon") & HEAVY


def test_help_needs_no_torch():
    for tokens in ([], ["--help"], ["--version"]):
        assert "torch" not in loaded(f"from mriqf.cli import main\nassert main({tokens}) == 0")


def test_public_names_exist():
    import mriqf

    assert all(getattr(mriqf, name) is not None for name in mriqf.__all__)
    assert sorted(mriqf.__all__) == dir(mriqf)
    with pytest.raises(AttributeError, match="module 'mriqf' has no attribute 'scores'"):
        mriqf.scores  # noqa: B018
