"""`mriqf recon`: reconstruct raw data, as they are or retrospectively undersampled, slice by slice."""

import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from cyclopts import Parameter
from tqdm import tqdm

import recon
from mriqf import __version__
from mriqf.cli import UsageError
from mriqf.commands.kspace import (
    DEFAULT,
    LAM,
    Method,
    Scan,
    batches,
    check_options,
    choose_center,
    choose_method,
    choose_pattern,
    choose_weights,
    effective_acceleration,
    file_hash,
    find_weights,
    read_coil_maps,
    say_partial_fourier,
)
from mriqf.commands.options import choose_device, parse_slices, say
from mriqf.commands.recon_check import MAP, NUMBERS, Checker, row, say_remarks
from mriqf.commands.score_table import nrmse_column, score_column
from mriqf.commands.table import Column, Table, show
from mriqf.commands.table_file import writing
from mriqf.io import find_sampling, read_kspace
from mriqf.io.atomic import check_target
from mriqf.io.partial import EMPTY, PENDING, PartialImages
from mriqf.io.volume import find_file
from recon.methods import Reconstruction
from recon.partial_fourier import PartialFourier
from recon.pipeline import MOST_COILS, Coils

FILLS: dict[str, PartialFourier] = {"none": "zero-filled", "pocs": "pocs", "homodyne": "homodyne"}
PRINTED = ("input", "slice", "method", "acceleration", "seconds", *NUMBERS)


def reconstruct(
    kspace: str,
    *,
    out: Path,
    method: Method = DEFAULT,
    mask: str | None = None,
    acceleration: float | None = None,
    center_fraction: float | None = None,
    seed: int = 0,
    modl: Annotated[str | None, Parameter(alias="--weights")] = None,  # its name in earlier releases
    lam: float | None = None,
    coil_maps: Path | None = None,
    coils: int = MOST_COILS,
    map_sets: int = 1,
    partial_fourier: Literal["none", "pocs", "homodyne"] = "none",
    slices: str = ":",
    check: bool = True,
    keep_complex: Annotated[bool, Parameter(name="--complex", negative="")] = False,
    header: bool = False,
    device: str = "auto",
    force: bool = False,
) -> None:
    """Reconstruct k-space.

    Data that are undersampled already, by their own mask or by zeros, are reconstructed as they are; fully sampled data
    are undersampled first, if an acceleration is given. Coil maps come from separate calibration lines where the file
    has more of those than k-space has itself; noise measurements make the coils independent; read-out oversampling is
    removed. Slices of zeros are left empty. Each image is checked against its k-space, as by `mriqf check`, which takes
    two reconstructions more (--no-check leaves it out): the NRMSE to expect, its interval, the score that stands for
    it, and a map of scores are written as `nrmse`, `nrmse_low`, `nrmse_high`, `score` (s,) and `quality_map` (s, h, w),
    NaN where they are not known. Prints a row a slice; to programs, fields are separated by tabs: input, slice, method,
    acceleration (the effective one), seconds, nrmse, nrmse_low, nrmse_high, score.

    Images are written as they come, into OUT.partial until all are there: the same command goes on with it.

    Parameters
    ----------
    kspace
        File in fastMRI HDF5, ISMRMRD, BART or NumPy.
    out
        HDF5 file to write, in fastMRI's layout: `mriqf score` reads it.
    method
        zero-filled, cg-sense, l1-wavelet, tv, modl, varnet or stacked: modl, l1-wavelet and tv averaged, with weights
        that are fitted to a tenth of the lines of each slice; it takes some three times as long as modl.
    mask
        Family of sampling masks: random, equispaced, gaussian, poisson, or fastMRI's own, such as fastmri-random.
    acceleration
        Nominal undersampling factor; the effective one is printed and stored.
    center_fraction
        Part of the columns that is always sampled, 0–1; 0.32 / acceleration if not given.
    seed
        Seed of the mask, of which there is one for the whole file.
    modl
        Name or path of a trained MoDL or VarNet, such as modl-knee; those of the method's name if not given.
    lam
        Weight of the regularisation of cg-sense, l1-wavelet and tv.
    coil_maps
        Coil sensitivity maps (.npy, complex, (c, h, w) or (s, c, h, w)) instead of those that are estimated by
        ESPIRiT, once a slice position.
    coils
        Virtual coils that more receivers are compressed to.
    map_sets
        Sets of coil maps: 2 where the field of view is smaller than the object.
    partial_fourier
        Method that fills lines that were left out on one side of k-space: none, pocs or homodyne.
    slices
        Which slices, as 10:30, 7 or ::5.
    check
        Say how large the error of each image is to be expected.
    keep_complex
        Write the complex images too, as `reconstruction_complex`.
    header
        Begin the tab-separated rows with a line of names.
    device
        auto, cpu or cuda.
    force
        Replace a file that exists.
    """
    chosen = parse_slices(slices)
    check_options(method, lam, mask, acceleration, center_fraction)
    if out.exists() and Path(kspace).exists() and out.samefile(kspace):
        raise UsageError(f"--out {out} is the k-space itself: choose another name")
    _check_coil_options(coils, map_sets, keep_complex, coil_maps)
    lam = LAM.get(method) if lam is None else lam
    place = choose_device(device)
    network = choose_weights(method, modl)
    solve = choose_method(method, lam, network, place)
    check_target(out, force)
    checker = Checker(place) if check else None
    table = _table(kspace, header, checker)
    started = time.perf_counter()
    data = read_kspace(kspace)
    indices = range(data.n_slices)[chosen]
    if not indices:
        raise ValueError(f"{kspace}: --slices selects none of its {data.n_slices} slices: choose others")
    csm = None if coil_maps is None else read_coil_maps(coil_maps, data)
    sampling = find_sampling(data, indices)
    pattern = choose_pattern(data, sampling, mask, acceleration, center_fraction, seed)
    say_partial_fourier(data, pattern, partial_fourier)
    effective = effective_acceleration(pattern, sampling)
    used: dict[str, Any] = {
        "method": method,
        "weights": network,
        "lam": lam,
        "mask_family": None if acceleration is None else mask or "random",
        "acceleration": acceleration,
        "effective_acceleration": effective,
        "center_fraction": None if acceleration is None else choose_center(acceleration, center_fraction),
        "seed": None if acceleration is None else seed,
        "coil_maps": coil_maps.name if coil_maps is not None else "ones" if data.n_coils == 1 else "espirit",
        "map_sets": map_sets if map_sets > 1 else None,
        "coils": min(coils, data.n_coils),
        "prewhitened": data.noise is not None,
        "partial_fourier": partial_fourier,
        "source": Path(kspace).name,
        "slices": list(indices),
        "version": __version__,
    }
    run = used | {
        "source_state": _state(kspace),
        "weights_hash": None if network is None else file_hash(find_weights(network)),
        "coil_maps_hash": None if coil_maps is None else file_hash(coil_maps),
        "complex": keep_complex,
        "check": checker is not None,
    }
    shape = data.image_shape or data.shape
    beside = {} if checker is None else dict.fromkeys(NUMBERS, ()) | {MAP: shape}
    attrs = used if checker is None else used | checker.attrs
    scan = Scan(data, pattern, csm, coils, map_sets, place)
    with (
        writing(out),
        PartialImages(
            out, run, attrs, pattern, (len(indices), *shape), keep_complex=keep_complex, beside=beside, force=force
        ) as file,
    ):
        _Run(kspace, scan, solve, FILLS[partial_fourier], indices, used, table, checker).complete(file, sampling.empty)
    if table.aligned:
        seconds = time.perf_counter() - started
        count = f"{len(indices)} slice{'s' * (len(indices) > 1)}"
        show(f"{out}: {count} by {method} in {seconds:.0f} s, effective acceleration {effective:.2f}")


@dataclass(frozen=True)
class _Run:
    """Reconstruction of the slices of one file of k-space."""

    kspace: str
    scan: Scan
    solve: Reconstruction
    fill: PartialFourier
    indices: range
    used: dict[str, Any]
    table: Table
    checker: Checker | None

    def complete(self, file: PartialImages, empty: Sequence[int]) -> None:
        """Write the images that a partial file lacks, and give it its final name."""
        if before := int((file.states != PENDING).sum()):
            say(f"{file.partial}: goes on behind {before} of {len(self.indices)} slices")
        for index in empty:
            if file.states[number := self.indices.index(index)] == PENDING:
                say(f"{self.kspace}: slice {index} is all zeros: skipped, its image is empty")
                file.mark(number, EMPTY)
        try:
            self._write_images(file)
        except BaseException:
            if done := int((file.states != PENDING).sum()):
                rest = "the same command goes on with the others"
                say(f"{file.partial}: keeps {done} of {len(self.indices)} slices: {rest}")
            raise
        file.finish()

    def _write_images(self, file: PartialImages) -> None:
        """Reconstruct the missing slices batch by batch; slices of one position share their coil maps."""
        data = self.scan.data
        missing = [index for index, state in zip(self.indices, file.states, strict=True) if state == PENDING]
        filled = [index for index, state in zip(self.indices, file.states, strict=True) if state != EMPTY]
        coils, position = Coils(torch.zeros(1, 1, 1, 1, dtype=torch.complex64)), -1
        with tqdm(total=len(missing), desc="recon", file=sys.stderr, disable=None, leave=False, unit="slice") as bar:
            for batch in batches(data, missing, self.scan.device):
                began = time.perf_counter()
                name = f"{self.kspace}: slice{f's {batch[0]} to {batch[-1]}' if len(batch) > 1 else f' {batch[0]}'}"
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always", UserWarning)
                    try:
                        y = self.scan.kspace(batch)
                        if data.positions is None:
                            coils = self.scan.coils(batch, y)
                        elif data.position(batch[0]) != position:
                            position = data.position(batch[0])
                            first = next(index for index in filled if data.position(index) == position)
                            coils = self.scan.coils([first], y[:1] if first == batch[0] else self.scan.kspace([first]))
                        images = recon.reconstruct(
                            y, self.scan.mask, self.solve, csm=coils, partial_fourier=self.fill, batch=len(batch)
                        )
                        checked = [None] * len(batch)
                        if self.checker is not None:
                            checked = self.checker(self.solve, y, self.scan.mask, coils, images, data, self.fill)
                            say_remarks(self.kspace, batch, checked)
                    except ValueError as error:
                        raise ValueError(f"{name}: {error}") from None
                for message in dict.fromkeys(str(warning.message) for warning in caught):
                    say(f"warning: {name}: {message}")
                for index, image, result in zip(batch, data.crop(images.cpu().numpy()), checked, strict=True):
                    beside = None if result is None else result.values
                    file.write(self.indices.index(index), np.linalg.norm(image, axis=0), image[0], beside)
                seconds = (time.perf_counter() - began) / len(batch)
                for index, result in zip(batch, checked, strict=True):
                    place = {"input": self.kspace, "slice": index, "seconds": f"{seconds:.2f}"}
                    how = {"method": self.used["method"], "acceleration": self.used["effective_acceleration"]}
                    self.table.row(place | how | row(result))
                bar.update(len(batch))


def _check_coil_options(coils: int, map_sets: int, keep_complex: bool, coil_maps: Path | None) -> None:
    if coils < 1:
        raise UsageError(f"--coils is {coils}: give 1 or more")
    if map_sets not in (1, 2):
        raise UsageError(f"--map-sets is {map_sets}: give 1 or 2")
    if map_sets == 2 and (keep_complex or coil_maps is not None):
        other = "--complex" if keep_complex else "--coil-maps"
        raise UsageError(f"--map-sets 2 makes two complex images of estimated maps: leave {other} out")


def _state(kspace: str) -> list[int]:
    """Size and modification time of the file of k-space, to notice changes."""
    stat = find_file(kspace).stat()
    return [stat.st_size, stat.st_mtime_ns]


def _table(kspace: str, header: bool, checker: Checker | None) -> Table:
    shown = [
        Column("slice", "", 5, lambda row: str(row["slice"])),
        Column("method", "", 11, lambda row: row["method"], words=True),
        Column("R", "", 6, lambda row: f"{row['acceleration']:.2f}"),
        Column("time", "s", 7, lambda row: row["seconds"]),
    ]
    if checker is not None:
        calibration = checker.judge.calibration
        shown += [] if calibration is None else [nrmse_column(calibration)]
        shown.append(score_column())
    return Table(PRINTED, shown, [kspace], "k-space", header=header)
