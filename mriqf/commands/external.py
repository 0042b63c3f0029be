"""External reconstruction program as a method: input files, one output image, one run per slice."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Complex, Complex64
from torch import Tensor

import recon
from mriqf.cli import UsageError
from mriqf.io import ReadError, Volume, read
from recon.given import fit_scale, with_phase

PLACES = re.compile(r"\{(in|in\.npy|in\.cfl|maps\.cfl|out|out\.npy|out\.cfl)\}")
TIMEOUT = 600.0
"""Seconds that a run may take."""
REPORTED = 200  # characters of a program's output that an error repeats


@dataclass(frozen=True)
class External:
    """A program that reconstructs one slice at a time, as `recon`'s methods are called.

    In the command, ``{in}`` becomes an HDF5 file of ``kspace`` (1, c, h, w), zero where it was not measured, ``mask``
    (h, w) and coil maps ``csm`` (1, c, h, w); ``{in.npy}`` the k-space as (c, h, w); ``{in.cfl}`` and ``{maps.cfl}``
    BART's pairs of both, without the ending. ``{out}``, ``{out.npy}`` or ``{out.cfl}`` is the image to write, of any
    format that is read. Images are brought to the scale of the data, and magnitudes get the phase of CG-SENSE.
    """

    command: str
    timeout: float = TIMEOUT
    """Time limit of a run in seconds."""

    def check(self) -> None:
        """Raise UsageError for a command that cannot be run, before any file is read."""
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            raise UsageError(f"--command cannot be split into words ({error}): close its quotes") from None
        places = {place.partition(".")[0] for place in PLACES.findall(self.command)}
        if not {"in", "out"} <= places:
            raise UsageError("--command has no {in} or no {out}: put them where the program takes its files")
        if shutil.which(words[0]) is None:
            raise UsageError(f"--command: {words[0]!r} is no program that can be run: give its path")
        if not self.timeout > 0:
            raise UsageError(f"--timeout is {self.timeout:g}: give seconds, more than 0")

    def __call__(self, kspace: Complex[Tensor, "b c h w"], sense: recon.Sense) -> Complex[Tensor, "b 1 h w"]:
        """Reconstruct by the program, one run per sample.

        Raises
        ------
        ValueError
            If the program fails, takes too long, or writes no image of the size of its k-space.
        """
        measured = sense.mask * kspace
        masks = sense.mask.expand(len(kspace), 1, *kspace.shape[2:])[:, 0]
        maps = sense.csm.expand(len(kspace), *sense.csm.shape[1:])
        made = [self._image(*(x[k].cpu().numpy() for x in (measured, masks, maps))) for k in range(len(kspace))]
        images = torch.from_numpy(np.stack(made))[:, None].to(kspace.device)
        if not np.iscomplexobj(made[0]):
            images = with_phase(images.abs(), recon.cg_sense(measured, sense))
        return fit_scale(images, measured, sense)

    def _image(self, kspace: Complex64[np.ndarray, "c h w"], mask: np.ndarray, csm: np.ndarray) -> np.ndarray:
        """Reconstruct one slice: complex64 (h, w), or float32 if the program wrote no complex values."""
        with tempfile.TemporaryDirectory(prefix="mriqf-command-") as name:
            folder = Path(name)
            files = {place: folder / place for place in ("in.npy", "out.npy")}
            files |= {"in": folder / "in.h5", "out": folder / "out.h5"}
            files |= {f"{stem}.cfl": folder / stem for stem in ("in", "maps", "out")}
            _write(files, kspace, mask, csm, set(PLACES.findall(self.command)))
            _run(
                [PLACES.sub(lambda match: str(files[match[1]]), word) for word in shlex.split(self.command)],
                self.timeout, folder / "words.txt",
            )  # fmt: skip
            out = files[next(place for place in PLACES.findall(self.command) if place.startswith("out"))]
            return _read(out, (kspace.shape[1], kspace.shape[2]))


def upright(method: External) -> Callable[[Tensor, recon.Sense], Tensor]:
    """Wrap the program for k-space with exchanged axes, so that it gets the k-space as it was measured."""

    def turned(kspace: Tensor, sense: recon.Sense) -> Tensor:
        mask = sense.mask.expand(-1, -1, *kspace.shape[2:]).transpose(-2, -1)
        sense = recon.Sense(mask, sense.csm.transpose(-2, -1))
        return method(kspace.transpose(-2, -1), sense).transpose(-2, -1)

    return turned


def _write(files: dict[str, Path], kspace: np.ndarray, mask: np.ndarray, csm: np.ndarray, wanted: set[str]) -> None:
    """Write the input files that the command asks for."""
    if "in" in wanted:
        import h5py

        with h5py.File(files["in"], "w") as file:
            file["kspace"], file["mask"], file["csm"] = kspace[None], mask, csm[None]
    if "in.npy" in wanted:
        np.save(files["in.npy"], kspace)
    for place, array in (("in.cfl", kspace), ("maps.cfl", csm)):
        if place in wanted:  # BART's order: read-out, phase encoding, slice, coil; the first runs fastest
            c, h, w = array.shape
            Path(f"{files[place]}.hdr").write_text(f"# Dimensions\n{h} {w} 1 {c}\n")
            array.transpose(1, 2, 0).astype("<c8").ravel("F").tofile(f"{files[place]}.cfl")


def _run(words: list[str], timeout: float, said: Path) -> None:
    """Run a program; it and its child processes are killed after the time limit, or when this program ends."""
    name = Path(words[0]).name
    with said.open("wb") as stream:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stream, start_new_session=True
            )
        except OSError as error:
            raise ValueError(f"command {name!r} cannot be run ({error.strerror}): give a program") from None
        try:
            status = process.wait(timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise ValueError(f"command {name!r} took more than {timeout:g} s: raise --timeout") from None
            raise
    if status:
        with said.open("rb") as stream:
            stream.seek(max(0, said.stat().st_size - 4096))
            lines = stream.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        raise ValueError(
            f"command {name!r} ended with status {status} ({last[:REPORTED]}): try it on one slice by itself"
        )


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray:
    if not path.exists() and not Path(f"{path}.cfl").exists():
        raise ValueError(f"the command wrote no {path.name}: let it write its image to {{out}}")
    try:
        volume: Volume = read(path)
        if volume.n_slices != 1 or volume.channels != 1 or volume.shape != shape:
            raise ReadError(
                f"{path}: is {volume.n_slices} of {volume.shape[0]} × {volume.shape[1]}, not one image of "
                f"{shape[0]} × {shape[1]}: write one of the size of its k-space"
            )
        values = volume.read_complex(0)
        return volume.read_slice(0)[0] if values is None else values
    except ReadError as error:
        raise ValueError(f"the command's {str(error).removeprefix(f'{path.parent}/')}") from None
