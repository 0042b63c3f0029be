"""`mriqf check`: reconstruct k-space and estimate the error of each slice from its data."""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from mriqf import __version__
from mriqf.cli import UsageError
from mriqf.commands.check_slice import COLUMNS, MEASURED, ONE_FOLD, Job, check_slice, thinned
from mriqf.commands.external import TIMEOUT, External
from mriqf.commands.given import STAND_IN, open_given
from mriqf.commands.judge import IMAGE, JUDGED, Judge
from mriqf.commands.kspace import (
    DEFAULT,
    LAM,
    Method,
    Scan,
    check_options,
    choose_method,
    choose_pattern,
    choose_weights,
    effective_acceleration,
    read_coil_maps,
)
from mriqf.commands.options import choose_device, parse_slices, say
from mriqf.commands.score_table import complain, nrmse_column, score_column, unit_in_words
from mriqf.commands.score_volume import map_file, output_names
from mriqf.commands.table import Column, Table, show
from mriqf.commands.table_file import check_targets, tables, writing
from mriqf.io import Sampling, find_inputs, find_sampling, from_array, read_kspace, write_map
from mriqf.io.bounds import named
from mriqf.io.discovery import RAW, passed_over
from mriqf.predictors.unit import ERROR_UNIT
from mriqf.scoring.evidence import choose
from mriqf.scoring.resolution import Resolution
from mriqf.scoring.scorer import Scorer
from recon.pipeline import MOST_COILS

PRINTED = (
    "input", "slice", "method", "acceleration", "inconsistency", "nrmse", "nrmse_low", "nrmse_high", "score", "unit",
    "resolved", "image_nrmse", "image_score", "held_out", "missing", "sure", "note",
)  # fmt: skip
USED = (
    "method", "image", "command", "stand_in", "acceleration", "weights", "evidence", "unit", "resolution", "modl",
    "lam", "coil_maps", "folds", "seed", "version",
)  # fmt: skip


def check(
    *kspace: str,
    method: Method | None = None,
    image: str | None = None,
    command: str | None = None,
    timeout: float = TIMEOUT,
    mask: str | None = None,
    acceleration: float | None = None,
    center_fraction: float | None = None,
    seed: int = 0,
    weights: str = "qf-mri",
    evidence: str | None = None,
    resolution: Resolution = "own",
    modl: str | None = None,
    lam: float | None = None,
    coil_maps: Path | None = None,
    coils: int = MOST_COILS,
    noise_std: float | None = None,
    folds: int | None = None,
    slices: str = ":",
    what_if: tuple[float, ...] = (),
    csv: Path | None = None,
    map_dir: Path | None = None,
    header: bool = False,
    force_score: bool = False,
    device: str = "auto",
    force: bool = False,
) -> int:
    """Check a reconstruction against the k-space that it is made from.

    K-space is reconstructed as by `mriqf recon`, by a program of yours (--command), or was reconstructed elsewhere
    (--image). Prints a row a slice: effective acceleration; inconsistency, the share of the measured samples that the
    image misses, and a note if that is more than noise and coil maps explain; the NRMSE to expect with
    its interval, and the score that stands for it (0–100, higher is better, see mriqf score), from image and k-space
    together by a k-space predictor (--evidence), else from the image alone; image_nrmse and image_score, which the
    image alone gets, where the k-space was asked, too; held_out, the relative error in measured lines that are kept
    from the reconstruction in turns (0 is perfect, 1 as bad as nothing), free of noise where that is known; missing,
    the relative error of the image if the lines that were never measured are foretold as well as those; sure, Stein's
    estimate of the relative error in the lines that were measured, which says nothing of the others; and a note on what
    is empty. To programs, fields are separated by tabs: input, slice, method, acceleration, inconsistency, nrmse,
    nrmse_low, nrmse_high, score, unit, resolved, image_nrmse, image_score, held_out, missing, sure, note.

    Parameters
    ----------
    kspace
        Files in fastMRI HDF5, ISMRMRD, BART or NumPy, and folders of them, which are searched with all that is below.
    method
        zero-filled, cg-sense, l1-wavelet, tv, modl, varnet or stacked; modl if not given. With --image, the method
        whose changes with the data stand in for those of the image, cg-sense if not given.
    image
        Images of the slices that were made elsewhere, in any format that mriqf score reads, as large as the k-space or
        its reconstruction matrix, in any unit. Magnitudes get the phase of the method. The change of the image with
        the data is unknown then: held_out, missing and sure stay empty, and the interval is wider.
    command
        Program that reconstructs a slice, such as "python mine.py {in} {out}", run three times a slice: {in} is an HDF5
        file of kspace (1, c, h, w), zero where it was not measured, mask (h, w) and estimated csm (1, c, h, w), {out}
        the image to write, in any format that mriqf score reads. {in.npy} is k-space alone; {in.cfl}, {maps.cfl} and
        {out.cfl} are BART's pairs.
    timeout
        Seconds that a run of the program may take.
    mask
        Family of sampling masks: random, equispaced, gaussian, poisson, or fastMRI's own, such as fastmri-random.
    acceleration
        Nominal undersampling factor, for fully sampled data; the effective one is printed.
    center_fraction
        Part of the columns that is always sampled, 0–1; 0.32 / acceleration if not given.
    seed
        Seed of the mask, of which lines are held out when, and of the probes.
    weights
        Name or path of the predictor that scores images; each slice is scored on its own scale.
    evidence
        Name or path of the k-space predictor; none leaves the error to the image. By default the shipped one, if there
        is one and the weights know errors.
    resolution
        Treatment of an empty rim of k-space in the score: see mriqf score.
    modl
        Name or path of a trained MoDL or VarNet, such as modl-knee; those of the method's name if not given.
    lam
        Weight of the regularisation of cg-sense, l1-wavelet and tv.
    coil_maps
        Coil sensitivity maps (.npy, complex, (c, h, w) or (s, c, h, w)) instead of ESPIRiT's.
    coils
        Virtual coils that more receivers are compressed to.
    noise_std
        Standard deviation of the real, and of the imaginary, part of the noise of k-space, in its unit, instead of
        what its corners show.
    folds
        Into how many parts the lines outside the centre are dealt, 2 or more, of which each is held out once and costs
        a reconstruction. If not given, one of ten that the k-space predictor needs anyway, or all ten without one.
    slices
        Which slices, as 10:30, 7 or ::5.
    what_if
        Effective undersampling factors, as 4 6 8: a further row each, of the error to expect had so few of the measured
        lines been measured. Needs a k-space predictor.
    csv
        Table to write, with all that was used; it grows as slices are checked.
    map_dir
        Folder for quality maps, one a file: NIfTI of the score of each pixel, 0–100, by k-space where that is asked.
    header
        Begin the tab-separated rows with a line of names.
    force_score
        Give images a score that the calibration does not know, too: it says nothing certain.
    device
        auto, cpu or cuda.
    force
        Replace a file that exists.

    Returns
    -------
    0, or 1 if an input failed.
    """
    if not kspace:
        raise UsageError("no input given: mriqf check KSPACE…")
    chosen = parse_slices(slices)
    if (image is not None) + (command is not None) > 1 or (command is not None and method is not None):
        raise UsageError("--image, --command and --method (but for --image's folds) say who reconstructs: give one")
    method = method or (DEFAULT if image is None else STAND_IN)
    external = None if command is None else _external(command, timeout, own_options=(lam, modl))
    if image is not None and (what_if or folds is not None):
        option = "--what-if" if what_if else "--folds"
        raise UsageError(f"{option} makes reconstructions again, which --image cannot: leave it out, or use --command")
    check_options(method, lam, mask, acceleration, center_fraction)
    if folds is not None and folds < 2:
        raise UsageError(f"--folds is {folds}: give 2 or more")
    if coils < 1:
        raise UsageError(f"--coils is {coils}: give 1 or more")
    if noise_std is not None and not noise_std > 0:
        raise UsageError(f"--noise-std is {noise_std}: give more than 0, in the unit of k-space")
    check_targets(csv, force=force)
    if map_dir is not None:
        map_dir.mkdir(parents=True, exist_ok=True)
    lam, place = LAM.get(method) if lam is None else lam, choose_device(device)
    judge = _choose_judge(weights, evidence, resolution, force_score, place)
    if what_if and judge.kspace is None:
        raise UsageError("--what-if needs a k-space predictor: give --evidence")
    if folds is None:
        folds = 10 if judge.kspace is None else ONE_FOLD
    if external is not None:
        network, reconstruction = None, external
    else:
        network = choose_weights(method, modl, "--modl")
        reconstruction = choose_method(method, lam, network, place, "--modl")
    used = {
        "method": "image" if image is not None else "command" if command is not None else method,
        "image": image, "command": command, "stand_in": None if image is None else method,
        "weights": weights, "evidence": judge.evidence, "unit": judge.scorer.predictor.unit, "resolution": resolution,
        "modl": network, "lam": lam, "folds": folds, "seed": seed, "version": __version__,
    }  # fmt: skip
    failures: list[str] = []
    skipped: dict[str, str] = {}

    def fail(line: str) -> None:
        failures.append(line)
        say(f"error: {line}")

    sources = list(find_inputs(kspace, fail, skipped.__setitem__, RAW).values())
    if image is not None and len(sources) > 1:
        raise UsageError(f"--image is of one file of k-space: give one, not {len(sources)}")
    printed = _slice_table(sources, judge, header)
    volumes: list[list[dict[str, Any]]] = []
    with tables(csv, None, ("input", "slice", *USED, *COLUMNS), force=force) as files:
        try:
            for source, name in zip(sources, output_names(sources), strict=True):
                rows: list[dict[str, Any]] = []
                volumes.append(rows)
                try:
                    data = read_kspace(source)
                    indices = range(data.n_slices)[chosen]
                    if not indices:
                        raise ValueError(f"--slices selects none of its {data.n_slices} slices: choose others")
                    csm = None if coil_maps is None else read_coil_maps(coil_maps, data)
                    sampling = find_sampling(data, indices)
                    pattern = choose_pattern(data, sampling, mask, acceleration, center_fraction, seed)
                    scan = Scan(data, pattern, csm, coils, device=place)
                    given = None if image is None else open_given(image, data, indices, method)
                    job = Job(scan, reconstruction, judge, noise_std, folds, seed, given)
                    padded = sampling.rows != slice(0, data.shape[0])
                    used["acceleration"] = effective_acceleration(pattern, sampling)
                    used["coil_maps"] = coil_maps.name if coil_maps else "ones" if data.n_coils == 1 else "espirit"
                    maps = np.full((data.n_slices, *(data.image_shape or data.shape)), np.nan, np.float32)
                    for index in tqdm(indices, "check", file=sys.stderr, disable=None, leave=False, unit="slice"):
                        settings = {"input": source, "slice": index, **used}
                        for k, columns in enumerate(_check(job, index, sampling, what_if, padded, maps[index])):
                            for file in files:
                                file.write(settings | columns)
                            printed.row(settings | columns)
                            if k == 0:
                                rows.append(settings | columns)
                    if map_dir is not None:
                        _write_map(map_file(map_dir, name), maps, judge, force)
                except (ValueError, OSError, ImportError) as error:
                    fail(complain(source, named(error)))
        except KeyboardInterrupt:
            say("interrupted" + "".join(f"; {file.count} rows are in {file.path}" for file in files))
            raise
    if printed.aligned:
        _print_volumes([rows for rows in volumes if len(rows) > 1], judge)
        if any(volumes):
            show(f"\nScore: {unit_in_words(judge.scorer.predictor.unit)}.")
    for line in passed_over(skipped):
        say(f"skipped: {line}")
    return 1 if failures else 0


def _external(command: str, timeout: float, own_options: Sequence[object]) -> External:
    """External program of `--command`, which excludes the options of the methods of `recon`."""
    if any(option is not None for option in own_options):
        raise UsageError("--lam and --modl are for our own methods: write options of the program into --command")
    external = External(command, timeout)
    external.check()
    return external


def _choose_judge(weights: str, evidence: str | None, resolution: Resolution, force_score: bool, device: str) -> Judge:
    """Load the predictors of images and of k-space."""
    try:
        scorer = Scorer(weights, resolution=resolution, device=device)
        by_kspace = choose(evidence) if evidence or scorer.predictor.unit == ERROR_UNIT else None
        judge = Judge(scorer, by_kspace, force_score)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if (channels := scorer.predictor.config.channels) != 1:
        raise UsageError(f"--weights {weights} takes {channels} channels: choose one for grey images")
    return judge


def _check(
    job: Job,
    index: int,
    sampling: Sampling,
    what_if: Sequence[float],
    padded: bool,
    quality: Float32[np.ndarray, "h w"],
) -> Iterator[dict[str, Any]]:
    """Columns of a slice, then those for each undersampling factor; fills its `quality` map."""
    if index in sampling.empty:
        yield dict.fromkeys(COLUMNS) | {"note": "all zeros: nothing was measured"}
        return
    columns, quality[:] = check_slice(job, index, padded)
    yield columns
    for changes in thinned(job, index, sampling, what_if):
        yield columns | changes


def _write_map(path: Path, maps: Float32[np.ndarray, "s h w"], judge: Judge, force: bool) -> None:
    """Write the quality maps of the slices, on a grid of their own: k-space has no position in space."""
    about = f"mriqf {__version__}, {Path(judge.name).stem}: {judge.scorer.predictor.unit}"
    with writing(path):
        write_map(
            path, from_array(np.zeros_like(maps)), iter(maps), limits=(0, 100), description=about[:79], force=force
        )


def _slice_table(names: list[str], judge: Judge, header: bool) -> Table:
    places = [Column("slice", "", 5, lambda row: str(row["slice"]))]
    note = Column("note", "", 0, lambda row: row["note"], words=True)
    return Table(PRINTED, [*places, *_shown(judge), note], names, "k-space", header=header)


def _print_volumes(volumes: list[list[dict[str, Any]]], judge: Judge) -> None:
    """Print one row per volume, with the means of its slices."""
    if not volumes:
        return
    places = [Column("slices", "", 6, lambda row: str(row["slices"]))]
    table = Table(("input",), [*places, *_shown(judge)], [rows[0]["input"] for rows in volumes], "mean of")
    show("")
    for rows in volumes:
        means = {}
        for key in (*JUDGED[:-1], *IMAGE[:-1], *MEASURED[:6]):
            known = [row[key] for row in rows if row[key] is not None and not math.isnan(row[key])]
            means[key] = sum(known) / len(known) if known else None
        table.row(rows[0] | means | {"slices": len(rows)})


def _shown(judge: Judge) -> list[Column]:
    def number(key: str) -> Column:
        return Column(key.replace("_", " "), "", 8, lambda row: "" if row[key] is None else f"{row[key]:.3f}")

    expected = [] if judge.calibration is None else [nrmse_column(judge.calibration)]
    factor = Column("R", "", 5, lambda row: f"{row['acceleration']:.2f}")
    image = Column(
        "by image", "0–100", 8, lambda row: "" if row["image_score"] is None else f"{row['image_score']:.1f}"
    )
    alone = [] if judge.kspace is None else [image]

    def missed(row: Mapping[str, Any]) -> str:
        return "" if row["inconsistency"] is None else f"{100 * row['inconsistency']:.1f}"

    off = Column("off data", "%", 8, missed)
    return [factor, off, *expected, score_column(), *alone, *map(number, ("held_out", "missing", "sure"))]
