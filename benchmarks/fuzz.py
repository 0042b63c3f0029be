"""Bytes that are sought to reach ever other lines of the readers, by atheris; a crash ends the run and is kept.

    pip install atheris
    python -m benchmarks.fuzz NAME [--seconds 60]

NAME is a file of `benchmarks/hostile_files`, such as one.nii, whose reader is tried; without it, all are listed.
Unreadable files must be refused by one line. `benchmarks.hostile` damages files of all formats at random.
"""

import argparse
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

MOST = 1 << 16  # bytes of a file


def main() -> None:
    """Run until a reader fails, or the time is over."""
    atheris: Any = importlib.import_module("atheris")  # typed for other versions than this
    with atheris.instrument_imports(include=["mriqf", "nibabel", "pydicom"]):
        from benchmarks.hostile_files import COMMANDS, IMAGES, OTHERS, RAW, READERS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=sorted(COMMANDS))
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    if not options.name:
        print(*sorted(COMMANDS), sep="\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = (IMAGES | RAW | OTHERS)[options.name](Path(folder, options.name))
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        (corpus / "whole").write_bytes(path.read_bytes())
        read = READERS[COMMANDS[options.name]]

        def once(data: bytes) -> None:
            path.write_bytes(data)
            try:
                read(path)
            except (ValueError, FileNotFoundError) as error:
                if not str(error).isprintable():
                    raise RuntimeError(f"{options.name}: refused by more than one line: {error!r}") from error

        flags = [f"-max_len={MOST}", f"-max_total_time={options.seconds}", "-timeout=10", "-rss_limit_mb=3072"]
        atheris.Setup([sys.argv[0], *flags, str(corpus)], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
