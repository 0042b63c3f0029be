"""Checks of a release: python release/check.py [--quick]; needs git, uv and twine.

Version and changelog, CITATION.cff by cffconvert and the conda recipe by rattler-build, both in environments that uv
makes for them, wheel and source archive reproducible and sound, dependencies that resolve for each system and Python,
and the wheel, installed into an empty prefix, used without a network. `--quick` leaves out the last.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

ROOT = Path(__file__).parents[1]
LARGEST = 30e6  # bytes of the wheel
PYTHONS = ("3.11", "3.12", "3.13")
RENDER = """
import pathlib, rattler_build
rendered = rattler_build.Stage0Recipe.from_yaml(pathlib.Path("release/conda/recipe.yaml").read_text()).render()
assert [one.recipe.package.name for one in rendered] == ["mriqf"], rendered
"""
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin", "x86_64-pc-windows-msvc")


def main() -> int:
    """Print a line a check; 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="install nothing")
    quick = parser.parse_args().quick
    failed = []

    def check(what: str, problem: str) -> None:
        print(f"{'FAIL' if problem else 'ok':4} {what}{': ' * bool(problem)}{problem}", flush=True)
        failed.extend([what] * bool(problem))

    check("one version everywhere", "; ".join(versions()))
    check("nothing uncommitted", run("git", "status", "--porcelain")[1].partition("\n")[0])
    uv = (sys.executable, "-m", "uv", "--quiet")
    check("citation is valid", problem(*run(*uv, "tool", "run", "cffconvert@2.0.0", "--validate")))
    python = ("run", "--no-project", "--with", "py-rattler-build>=0.73", "python", "-c", RENDER)
    check("conda recipe renders", problem(*run(*uv, *python)))
    with tempfile.TemporaryDirectory() as scratch:
        first, second = (build(Path(scratch, name)) for name in ("a", "b"))
        check("built twice, the same bytes", "" if digests(first) == digests(second) else "they differ")
        for path in first:
            print(f"     {path.stat().st_size / 1e6:.1f} MB  {digests([path])[0]}  {path.name}")
        wheel = next(path for path in first if path.suffix == ".whl")
        archive = next(path for path in first if path.suffix == ".gz")
        size = wheel.stat().st_size
        check(f"wheel of {size / 1e6:.1f} MB", "" if size <= LARGEST else f"more than {LARGEST / 1e6:.0f} MB")
        check("metadata by twine", problem(*run(sys.executable, "-m", "twine", "check", "--strict", *map(str, first))))
        check("metadata of the wheel", metadata(wheel))
        check("weights and licence inside", inside(wheel, archive))
        for python in PYTHONS:
            for platform in PLATFORMS:
                check(f"mriqf[all] resolves on {python}, {platform}", resolve(wheel, python, platform))
        if not quick:
            prefix = Path(scratch, "prefix")
            check("installed into an empty prefix", problem(*run("container/install.sh", str(prefix), str(wheel), "")))
            check("used without a network", problem(*run("container/check.sh", str(prefix))))
    return 1 if failed else 0


def versions() -> list[str]:
    """Files that say another version than pyproject.toml, or nothing of it."""
    version = tomllib.loads(text("pyproject.toml"))["project"]["version"]
    recipe = text("release/conda/recipe.yaml")
    found = {
        "mriqf/__init__.py": re.findall(r'__version__ = "(.*)"', text("mriqf/__init__.py")),
        "CITATION.cff": re.findall(r"^version: (.*)$", text("CITATION.cff"), re.MULTILINE),
        ".zenodo.json": [json.loads(text(".zenodo.json"))["version"]],
        "release/conda/recipe.yaml": re.findall(r"^  version: ([\d.]+)$", recipe, re.MULTILINE),
        "CHANGELOG.md": re.findall(r"^## (\S+)", text("CHANGELOG.md"), re.MULTILINE)[:1],
    }  # fmt: skip
    return [
        f"{file} says {', '.join(said) or 'none'}, not {version}" for file, said in found.items() if said != [version]
    ]


def build(folder: Path) -> list[Path]:
    """Wheel and source archive of the last commit, built in a folder of its own."""
    source = folder / "source"
    source.mkdir(parents=True)
    packed = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    (folder / "head.tar").write_bytes(packed)
    with tarfile.open(folder / "head.tar") as archive:
        archive.extractall(source, filter="data")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist")]
    subprocess.run(command, cwd=source, check=True, stdout=subprocess.DEVNULL)
    return sorted((folder / "dist").iterdir())


def metadata(wheel: Path) -> str:
    """Problem of the wheel's own metadata: Pythons, and pins of torch, which users choose."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        found = message_from_bytes(archive.read(name))
    classifiers = found.get_all("Classifier") or []
    if missing := [p for p in PYTHONS if f"Programming Language :: Python :: {p}" not in classifiers]:
        return f"no classifier of Python {missing[0]}"
    torch = [line for line in found.get_all("Requires-Dist") or [] if re.match(r"torch\b", line)]
    return "" if torch == ["torch>=2.6"] else f"pins {torch}"


def inside(wheel: Path, archive: Path) -> str:
    """What is missing in the wheel or in the source archive."""
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    with tarfile.open(archive) as packed:
        sources = {name.partition("/")[2] for name in packed.getnames()}
    weights = [str(path.relative_to(ROOT)) for path in ROOT.glob("*/pretrained/*") if path.is_file()]
    missing = [name for name in weights if name not in names or name not in sources]
    missing += [name for name in ("LICENSE", "CHANGELOG.md", "CITATION.cff") if name not in sources]
    missing += [] if any(name.endswith("licenses/LICENSE") for name in names) else ["LICENSE in the wheel"]
    return ", ".join(missing)


def resolve(wheel: Path, python: str, platform: str) -> str:
    """Problem of finding versions of all dependencies, for which nothing is installed."""
    with tempfile.NamedTemporaryFile("w", suffix=".in") as file:
        file.write(f"mriqf[all] @ {wheel.as_uri()}\n")
        file.flush()
        options = ("--quiet", "--no-header", "--python-version", python, "--python-platform", platform)
        return problem(*run(sys.executable, "-m", "uv", "pip", "compile", *options, file.name))


def problem(status: int, said: str) -> str:
    """Last words of a command that failed."""
    return "" if status == 0 else " ".join(said.split())[-300:] or f"exit status {status}"


def run(*command: str) -> tuple[int, str]:
    """Exit status and output of a command."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def digests(paths: list[Path]) -> list[str]:
    """SHA-256 of each file."""
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def text(name: str) -> str:
    """Content of a file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
