"""Run every notebook from top to bottom; with --write, keep the outputs in the files.

python notebooks/run.py [--write] [NAME …]

Without --write the files stay as they are, and outputs may differ from those that are kept: that the cells run is what is
checked. Outputs are kept small and free of the machine: pictures in 256 colours, no warnings, no times.
"""

import argparse
import base64
import io
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
MOST = 300_000  # bytes of a notebook


def main() -> None:
    """Run the notebooks and print how long each took; the first error ends the run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--write", action="store_true", help="keep the outputs")
    options = parser.parse_args()
    for path in [HERE / n for n in options.names] or sorted(HERE.glob("*.ipynb")):
        start = time.monotonic()
        notebook = nbformat.read(path, 4)
        # This interpreter, whatever kernels the machine has registered.
        client = NotebookClient(
            notebook, timeout=120, resources={"metadata": {"path": str(HERE)}}, coalesce_streams=True
        )
        client.create_kernel_manager()
        client.km.kernel_spec.argv[0] = sys.executable
        client.execute()
        if options.write:
            write(notebook, path)
        sys.stdout.write(f"{path.name}: {time.monotonic() - start:.0f} s\n")


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Replace the file by a notebook that was run, with outputs that depend little on when and where it ran.

    Raises
    ------
    ValueError
        If the notebook is too large: draw fewer or smaller figures.
    """
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if "outputs" not in cell:
            continue
        # Warnings of libraries are about the machine, not about the notebook.
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if png := output.get("data", {}).get("image/png"):
                output.data["image/png"] = reduced(png)
    notebook.metadata.pop("language_info", None)
    text = nbformat.writes(notebook)
    if len(text.encode()) > MOST:
        raise ValueError(f"{path.name} would have {len(text.encode())} bytes: draw fewer or smaller figures ({MOST})")
    path.write_text(text + "\n", encoding="utf-8")


def reduced(png: str) -> str:
    """A picture in 256 colours, both in base64."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        few = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=8, dither=Image.Dither.NONE)
    few.save(buffer, "png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    main()
