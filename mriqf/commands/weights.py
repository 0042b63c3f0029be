"""`mriqf weights`: list the trained weights, or average some."""

from pathlib import Path

from cyclopts import App

from mriqf.commands.table import Column, Table, show
from mriqf.weights import average as mean
from mriqf.weights import find, names, read, write

app = App(name="weights", help="List the trained weights, say where they are, or average some.")

JPEG = "restores JPEG images"
ABOUT = {  # task, unit, and the limit to know first; of kinds that come in grey and RGB, of both
    "qf-mri": (
        "scores MR images", "NRMSE; 0–100, 20 a doubling",
        "noise of the truth counts as error; invented or missing detail leaves no trace",
    ),
    "qf-mri-1": (
        "scores MR images", "NRMSE; 0–100, 20 a doubling", "the former qf-mri, to go on with earlier scores",
    ),
    "kspace": (
        "scores reconstructions", "NRMSE; 0–100, 20 a doubling", "for mriqf check: needs the k-space and two more runs",
    ),
    "qf-gray": ("scores grey images", "JPEG quality 0–100", "reads JPEG alone: no measure of reconstruction error"),
    "qf-rgb": ("scores photographs", "JPEG quality 0–100", "cropped JPEGs are read 5–8 points wrong"),
    "qf-gray-cui": ("scores grey images", "JPEG quality 0–100", "the report's network, for comparison alone"),
    "qf-gray-cui-fov11": ("scores grey images", "JPEG quality 0–100", "the report's network, for comparison alone"),
    "modl": ("reconstructs k-space", "image", "the default of recon: R up to 10, many anatomies; may invent detail"),
    "modl-knee": ("reconstructs k-space", "image", "R up to 8, trained on knees; may invent or remove detail"),
    "varnet": ("reconstructs k-space", "image", "a second network to compare modl with, which is better"),
    "arcnn": (JPEG, "image", "blind: gains less than qgcn, which is told the tables"),
    "srcnn": (JPEG, "image", "the smallest, for comparison and for fine-tuning"),
    "qgcn": (JPEG, "image", "the default of restore; tables of no libjpeg quality were not trained on"),
    "qgac": (JPEG, "image", "chroma as 4:2:0 codes it; gains less than qgcn"),
    "qairn": (JPEG, "image", "trained for SSIM as well: others have the better PSNR"),
}  # fmt: skip
FIELDS = ("name", "task", "unit", "parameters", "bytes", "limits")


@app.command(name="list")
def list_weights(*, header: bool = False) -> None:
    """Print the weights that come with the package: name, task, unit, size, and the limit to know first.

    To programs, fields are separated by tabs: name, task, unit, parameters, bytes, limits. The model cards say more.

    Parameters
    ----------
    header
        Begin the tab-separated rows with a line of names.
    """
    shown = [
        Column("task", "", 20, lambda row: row["task"], words=True),
        Column("unit", "", 20, lambda row: row["unit"], words=True),
        Column("size", "10⁶", 5, lambda row: f"{row['parameters'] / 1e6:.2f}"),
        Column("limits", "", 0, lambda row: row["limits"], words=True),
    ]
    table = Table(FIELDS, shown, names(), "weights", header=header)
    for name in names():
        task, unit, limits = ABOUT.get(name) or ABOUT.get(name.rpartition("-")[0]) or ("", "", "see its card")
        file = find(name)
        count = sum(tensor.numel() for tensor in read(file)[0].values())
        table.row(dict(zip(FIELDS, (name, task, unit, count, file.stat().st_size, limits), strict=True)))


@app.command
def average(*weights: str, out: Path, shares: tuple[float, ...], force: bool = False) -> None:
    """Average weights of one network, of trainings that began with the same ones.

    Parameters
    ----------
    weights
        Names or files of weights, or checkpoints of trainings (their averaged weights); the last is no checkpoint.
    out
        Weights to write (.safetensors).
    shares
        Share of each file; they sum to one.
    force
        Replace weights that exist.
    """
    write(out, *mean(weights, shares), force=force)


@app.command
def path(name: str) -> None:
    """Print the file of weights.

    Parameters
    ----------
    name
        Name of shipped weights.
    """
    show(str(find(name)))
