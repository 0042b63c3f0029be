"""Runtime of the page: onnxruntime-web, from an npm package that is not part of mriqf."""

import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE, VERSION = "onnxruntime-web", "1.23.2"
RUNTIME = f"{PACKAGE} {VERSION}"
"""Package and version that the page was tested with."""
SCRIPT, BINARY, ABOUT = "dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm", "package.json"
MOST = 2**26  # bytes of a file of the package
CURE = f"get it by `npm pack {PACKAGE}@{VERSION}`, and give that file by --runtime"


@dataclass(frozen=True)
class Runtime:
    """Script and WebAssembly binary of the runtime."""

    script: str = field(repr=False)
    """Script that defines `ort`, an object with the exports of the module."""
    binary: bytes = field(repr=False)


def read_runtime(path: Path) -> Runtime:
    """Read the runtime from an npm package: its .tgz file, or the folder that it was unpacked or installed to.

    Raises
    ------
    ValueError
        If it is missing, is of another version, or is damaged.
    """
    try:
        if path.is_dir():
            roots = (path, path / "package", path / PACKAGE, path / "node_modules" / PACKAGE)
            root = next((r for r in roots if (r / ABOUT).is_file() and (r / BINARY).is_file()), path)
            return _runtime(path, lambda name: (root / name).read_bytes())
        with tarfile.open(path) as archive:
            return _runtime(path, lambda name: _member(archive, f"package/{name}"))
    except FileNotFoundError:
        raise ValueError(f"{path}: {RUNTIME} is not there: {CURE}") from None
    except (OSError, KeyError, tarfile.TarError, UnicodeDecodeError, json.JSONDecodeError, EOFError):
        raise ValueError(f"{path}: is no npm package of {RUNTIME}, or is damaged: {CURE}") from None


def fetch(folder: Path) -> Path:
    """Download the package by npm into a folder.

    Raises
    ------
    ValueError
        If npm is not installed, or cannot reach the package.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError(f"{RUNTIME} is needed, and npm is not installed: on a machine with npm, {CURE}")
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", str(folder)]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    path = folder / f"{PACKAGE}-{VERSION}.tgz"
    if ended.returncode or not path.is_file():
        message = " ".join(ended.stderr.split())[:200] or f"status {ended.returncode}"
        raise ValueError(f"npm does not bring {RUNTIME} ({message}): on a machine with a network, {CURE}")
    return path


def _runtime(path: Path, read: Callable[[str], bytes]) -> Runtime:
    about = json.loads(read(ABOUT))
    identity = f"{about.get('name')} {about.get('version')}" if isinstance(about, dict) else "something else"
    if identity != RUNTIME:
        raise ValueError(f"{path}: is {identity}, and the page is tested with {RUNTIME}: {CURE}")
    return Runtime(_script(path, read(SCRIPT).decode("utf-8")), read(BINARY))


def _script(path: Path, module: str) -> str:
    """Module as a plain script with its exports as one object; workers of a local file cannot be modules."""
    text = re.sub(r"^//# sourceMappingURL=.*$", "", module, flags=re.MULTILINE)
    # It has no URL there; without one, it uses the given binary instead of loading one.
    text = re.sub(r'new URL\(("[\w.-]+\.wasm"),import\.meta\.url\)\.href', r"\1", text).replace("import.meta.url", '""')
    exports = list(re.finditer(r"export\{([^}]*)\};?", text))
    if len(exports) != 1:
        raise ValueError(f"{path}: its script does not look as that of {RUNTIME} does: {CURE}")
    pairs = re.findall(r"([\w$]+) as (\w+)", exports[0][1])
    named = ", ".join(f"{name}: {local}" for local, name in pairs)
    return f"{text[: exports[0].start()]}const ort = {{ {named} }};{text[exports[0].end() :]}"


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.getmember(name)
    file = archive.extractfile(member) if member.size <= MOST else None
    if file is None:
        raise KeyError(name)
    return file.read()
