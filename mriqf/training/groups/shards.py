"""Degraded images on disk, in shards that processes share out among them and resume."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mriqf.io import atomic_path
from mriqf.scoring.scale import percentile_scale
from mriqf.training.degraded.cache import sign
from mriqf.training.groups.degrade import CELL, DegradeConfig, Example, Learned, draw_group
from mriqf.training.groups.targets import Pool, Target, TargetConfig, draw_target
from mriqf.training.manifest import Manifest, Split, read_slices, read_source

GROUPS = 25
"""Groups of images of a shard."""
TARGETS, DEGRADATIONS = TargetConfig(), DegradeConfig()
"""How examples are made unless said otherwise."""
LEVELS = 65535
"""Of the whole numbers that images in [0, 1] are kept as."""


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
        Where the pools come from, as plain JSON values: manifest, split, networks.
    out_folder
        Where the shards go; made if it is not there.
    n_groups
        Groups in all.
    seed
        Of all shards.
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
    out_folder.mkdir(parents=True, exist_ok=True)
    terms = origin | {"seed": seed, "targets": asdict(targets), "config": asdict(config)}
    sign(out_folder, json.loads(json.dumps(terms)))
    for k in range(start, -(-n_groups // GROUPS), step):
        path = out_folder / f"{seed}-{k:05d}.npz"
        if not path.exists():
            rng = np.random.default_rng((seed, k))
            drawn = []
            while len(drawn) < GROUPS:
                target = draw_target(pools, rng, targets)
                drawn.append((target, draw_group(target, rng, config, learned)))
            with atomic_path(path, force=True) as temporary:
                np.savez(temporary, **_stacked(drawn, k))
        report(1)


def _stacked(drawn: Sequence[tuple[Target, list[Example]]], shard: int) -> dict[str, Any]:
    rows = [(k, target, example) for k, (target, examples) in enumerate(drawn) for example in examples]
    images = [normalised(example.image.numpy()) for *_, example in rows]
    cells = [np.stack((root(e.total), root(e.excess))) for *_, e in rows]
    return {
        "pixels": np.concatenate([np.round(image * LEVELS).astype(np.uint16).ravel() for image in images]),
        "shape": np.array([image.shape for image in images]),
        "cells": np.concatenate([cell.astype(np.float16).ravel() for cell in cells]),
        "group": np.array([GROUPS * shard + k for k, *_ in rows]),
        "nrmse": np.array([e.nrmse for *_, e in rows], np.float32),
        "ssim": np.array([e.ssim for *_, e in rows], np.float32),
        "level": np.array([e.level for *_, e in rows], np.float32),
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
    """Root of squared errors; what marks cells outside the object, or unknown ones, stays."""
    return torch.where(squares < 0, -1.0, squares.clamp_min(0).sqrt()).numpy()


def is_groups(folder: Path) -> bool:
    """Whether a folder holds shards of groups, and not of single examples."""
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
    for number, folder in enumerate(folders):
        paths = [path for path in sorted(folder.glob("*.npz")) if not path.name.startswith(".")]  # being written
        if not paths:
            raise ValueError(f"{folder} holds no shards: make some by mriqf data groups")
        for path in paths:
            with np.load(path, allow_pickle=False) as archive:
                shard = dict(archive)
            shape = shard.pop("shape")
            grid = -(-shape // CELL)
            ends = np.cumsum(shape.prod(1))[:-1]
            images = np.split(shard.pop("pixels"), ends)
            cells = np.split(shard.pop("cells"), 2 * np.cumsum(grid.prod(1))[:-1])
            shard["group"] = shard["group"] + 10**6 * number
            columns.setdefault("image", []).extend(x.reshape(s) for x, s in zip(images, shape, strict=True))
            columns.setdefault("cells", []).extend(x.reshape(2, *s) for x, s in zip(cells, grid, strict=True))
            for name, values in shard.items():
                columns.setdefault(name, []).append(values)
    return {name: v if name in ("image", "cells") else np.concatenate(v) for name, v in columns.items()}
