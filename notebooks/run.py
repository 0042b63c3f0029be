"""Run every notebook from top to bottom; with --write, keep the outputs in the files.

python notebooks/run.py [--write] [NAME …]
"""

import argparse
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def main() -> None:
    """Run the notebooks and print how long each took; the first error ends the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    for path in [HERE / n for n in options.names] or sorted(HERE.glob("*.ipynb")):
        start = time.monotonic()
        notebook = nbformat.read(path, 4)
        # This interpreter, whatever kernels the machine has registered.
        client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(HERE)}})
        client.create_kernel_manager()
        client.km.kernel_spec.argv[0] = sys.executable
        client.execute()
        if options.write:
            for cell in notebook.cells:
                cell.metadata.pop("execution", None)
                if "outputs" in cell:  # warnings of libraries are about this machine, not about the notebook
                    cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
            notebook.metadata.pop("language_info", None)
            nbformat.write(notebook, path)
        sys.stdout.write(f"{path.name}: {time.monotonic() - start:.0f} s\n")


if __name__ == "__main__":
    main()
