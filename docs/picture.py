"""Make the picture of the README, docs/demo.png: python docs/picture.py [FILE]

Runs `mriqf demo` and stores its figure smaller and in 256 colours.
"""

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from mriqf.commands.demo import demo

WIDTH, COLOURS = 1200, 256


def main() -> None:
    """Run the demo and reduce its figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=Path(__file__).with_name("demo.png"))
    file = parser.parse_args().file
    with tempfile.TemporaryDirectory() as folder:
        demo(out=Path(folder))
        with Image.open(Path(folder, "demo.png")) as figure:
            small = figure.convert("RGB").resize((WIDTH, round(WIDTH * figure.height / figure.width)), Image.LANCZOS)
    small.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=8, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    main()
