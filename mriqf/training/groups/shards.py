"""Degraded images on disk, in shards that processes share out among them and resume."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mriqf.io import atomic_path
from mriqf.scoring.scale import percentile_scale
from mriqf.training.degraded.cache import sign
from mriqf.training.groups.degrade import DegradeConfig, Example, draw_group
from mriqf.training.groups.labels import CELL
from mriqf.training.groups.reconstructions import Learned
from mriqf.training.groups.targets import Pool, Target, TargetConfig, draw_target
from mriqf.training.manifest import Manifest, Split, read_slices, read_source

GROUPS = 25
"""Groups of images of a shard."""
TARGETS, DEGRADATIONS = TargetConfig(), DegradeConfig()
"""Default settings of targets and degradations."""
LEVELS = 65535
"""Largest of the whole numbers that images in [0, 1] are stored as."""


def read_pools(manifest: Manifest, root: Path, split: Split) -> list[Pool]:
    """Magnitude images and photographs of a split; sources of k-space are left out.

    Raises
    ------
    ValueError
        If there is none, or the data differ from the manifest.
    """
    pools = []
    for source in manifest.split(split):
        path = root / source.path
        if path.is_dir() and source.files is None:
            photos = read_source(source, root)
            pools.append(Pool(path.name, photos, [path.name] * len(photos), source.weight, photographs=True))
            continue
        if path.suffix == ".h5":
            continue
        slices, subjects = read_slices(source, root)
        if not np.iscomplexobj(slices):
            names = [f"{path.stem}/{subject}" for subject in subjects]
            pools.append(Pool(path.stem, list(slices), names, source.weight))
    if not pools:
        raise ValueError(f"manifest {manifest.name} has no images for split={split}: choose another")
    return pools


def generate(
    pools: Sequence[Pool],
    origin: dict[str, Any],
    out_folder: Path,
    n_groups: int,
    seed: int,
    *,
    targets: TargetConfig = TARGETS,
    config: DegradeConfig = DEGRADATIONS,
    learned: Sequence[tuple[str, Learned]] = (),
    start: int = 0,
    step: int = 1,
    report: Callable[[int], object] = lambda _: None,
) -> None:
    """Write groups of degraded images, rounded up to shards of 25 groups; shards that are there are left alone.

    A shard depends on the pools, the configurations, the seed and its number only.

    Parameters
    ----------
    pools
        See `read_pools`.
    origin
        Origin of the pools, as plain JSON values: manifest, split, networks.
    out_folder
        Folder of the shards; made if it is not there.
    n_groups
        Groups in all.
    seed
        Seed of all shards.
    learned
        See `mriqf.training.groups.degrade.draw_group`.
    start, step
        Take shards start, start + step, …: several processes can share the work.
    report
        Gets the number of shards done, one at a time.

    Raises
    ------
    ValueError
        If the folder has examples of another origin.
    """

    def draw(rng: np.random.Generator, k: int) -> dict[str, Any]:
        drawn = []
        while len(drawn) < GROUPS:
            target = draw_target(pools, rng, targets)
            drawn.append((target, draw_group(target, rng, config, learned)))
        return _stacked(drawn, k)

    terms = origin | {"seed": seed, "targets": asdict(targets), "config": asdict(config)}
    write_shards(out_folder, terms, range(start, -(-n_groups // GROUPS), step), draw, report)


def write_shards(
    out_folder: Path,
    terms: dict[str, Any],
    numbers: Iterable[int],
    draw: Callable[[np.random.Generator, int], dict[str, Any]],
    report: Callable[[int], object],
) -> None:
    """Write the shards of some numbers; those that are there are left alone.

    Parameters
    ----------
    out_folder
        Made if it is not there.
    terms
        All that the shards depend on, their `seed` among it; a folder of other terms is refused.
    numbers
        Numbers of the shards.
    draw
        Gives the arrays of a shard, from a generator of its own and its number.
    report
        Gets the number of shards done, one at a time.
    """
    out_folder.mkdir(parents=True, exist_ok=True)
    sign(out_folder, json.loads(json.dumps(terms)))
    for k in numbers:
        path = out_folder / f"{terms['seed']}-{k:05d}.npz"
        if not path.exists():
            columns = draw(np.random.default_rng((terms["seed"], k)), k)
            with atomic_path(path, force=True) as temporary:
                np.savez(temporary, **columns)
        report(1)


def _stacked(drawn: Sequence[tuple[Target, list[Example]]], shard: int) -> dict[str, Any]:
    rows = [(k, target, example) for k, (target, examples) in enumerate(drawn) for example in examples]
    cells = [np.stack((root(e.total), root(e.excess))) for *_, e in rows]
    return {
        **pixels([e.image for *_, e in rows]),
        "cells": np.concatenate([cell.astype(np.float16).ravel() for cell in cells]),
        "group": np.array([GROUPS * shard + k for k, *_ in rows]),
        "nrmse": np.array([e.nrmse for *_, e in rows], np.float32),
        "ssim": np.array([e.ssim for *_, e in rows], np.float32),
        "level": np.array([e.level for *_, e in rows], np.float32),
        **labels(rows),
    }


def pixels(images: Sequence[torch.Tensor]) -> dict[str, Any]:
    """Columns of magnitude images, normalised, as whole numbers."""
    unit = [normalised(image.numpy()) for image in images]
    return {
        "pixels": np.concatenate([np.round(image * LEVELS).astype(np.uint16).ravel() for image in unit]),
        "shape": np.array([image.shape for image in unit]),
    }


def labels(rows: Sequence[tuple[int, Target, Any]]) -> dict[str, Any]:
    """Columns of the examples' degradation, data set and subject."""
    return {
        "acceleration": np.array([e.acceleration for *_, e in rows], np.float32),
        "family": np.array([e.family for *_, e in rows]),
        "method": np.array([e.method for *_, e in rows]),
        "dataset": np.array([target.dataset for _, target, _ in rows]),
        "subject": np.array([target.subject for _, target, _ in rows]),
    }


def normalised(image: np.ndarray) -> np.ndarray:
    """A magnitude image in [0, 1], as it is for scoring: raw zero stays 0."""
    scale = percentile_scale([image[None]]).from_zero()
    return np.clip(image / scale.high, 0, 1)


def root(squares: torch.Tensor) -> np.ndarray:
    """Root of squared errors; the marks of cells outside the object (-1) and unknown ones (NaN) stay."""
    return torch.where(squares < 0, -1.0, squares.clamp_min(0).sqrt()).numpy()


def is_groups(folder: Path) -> bool:
    """True if a folder holds shards of groups, not of single examples."""
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as archive:
            return "pixels" in archive
    return False


def read_shards(*folders: Path) -> dict[str, Any]:
    """All examples of folders.

    Returns
    -------
    dict
        `image`, a list of uint16 arrays; `cells`, a list of float16 arrays (2, i, j): root mean square of the total and
        of the excess error of cells, -1 outside the object, NaN where not known; arrays of `group`, `nrmse`, `ssim`,
        `level`, `acceleration`, `family`, `method`, `dataset`, `subject`.

    Raises
    ------
    ValueError
        If a folder has no shards.
    """
    columns: dict[str, list] = {}
    for _, shard in open_shards(folders, "mriqf data groups"):
        shape = shard.pop("shape")
        grid = -(-shape // CELL)
        ends = np.cumsum(shape.prod(1))[:-1]
        images = np.split(shard.pop("pixels"), ends)
        cells = np.split(shard.pop("cells"), 2 * np.cumsum(grid.prod(1))[:-1])
        columns.setdefault("image", []).extend(x.reshape(s) for x, s in zip(images, shape, strict=True))
        columns.setdefault("cells", []).extend(x.reshape(2, *s) for x, s in zip(cells, grid, strict=True))
        for name, values in shard.items():
            columns.setdefault(name, []).append(values)
    return {name: v if name in ("image", "cells") else np.concatenate(v) for name, v in columns.items()}


def share_of_subjects(examples: dict[str, Any], share: float, seed: int = 0) -> dict[str, Any]:
    """Examples of a share of the subjects, at least one; all photographs and drawn shapes stay, which have none.

    The subjects of a smaller share are among those of a larger one.

    Raises
    ------
    ValueError
        If the share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share of subjects is {share:g}: give a number above 0 and at most 1")
    names = np.array(examples["subject"]).astype(str)
    subjects = np.array(sorted({name for name in names if "/" in name}))
    order = np.random.default_rng(seed).permutation(len(subjects))
    left_out = subjects[order[max(round(share * len(subjects)), 1) :]]
    rows = np.flatnonzero(~np.isin(names, left_out))
    return {name: [v[k] for k in rows] if isinstance(v, list) else v[rows] for name, v in examples.items()}


def open_shards(folders: Sequence[Path], command: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Files and arrays of the shards of folders; groups of different folders stay apart.

    Raises
    ------
    ValueError
        If a folder has no shards: they are made by `command`.
    """
    for number, folder in enumerate(folders):
        paths = [path for path in sorted(folder.glob("*.npz")) if not path.name.startswith(".")]  # being written
        if not paths:
            raise ValueError(f"{folder} holds no shards: make some by {command}")
        for path in paths:
            with np.load(path, allow_pickle=False) as archive:
                shard = dict(archive)
            if "group" in shard:
                shard["group"] = shard["group"] + 10**6 * number
            yield path, shard
