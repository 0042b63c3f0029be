"""Evidence on disk, in shards that processes share out among them and resume."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mriqf.predictors.nrmse import CELL
from mriqf.training.evidence.draw import EvidenceConfig, Example, draw_examples
from mriqf.training.groups.reconstructions import Learned
from mriqf.training.groups.shards import labels, open_shards, pixels, root, write_shards
from mriqf.training.groups.targets import Pool, Target, TargetConfig, draw_target
from recon.evidence import CHANNELS, FINDINGS

TARGETS = 5
"""Targets of a shard."""
IMAGES = TargetConfig(smallest=128, largest=208)
"""Settings of targets: small ones, since each is reconstructed three times."""
RECONSTRUCTIONS = EvidenceConfig()


def generate(
    pools: Sequence[Pool],
    origin: dict[str, Any],
    out_folder: Path,
    n_targets: int,
    seed: int,
    *,
    targets: TargetConfig = IMAGES,
    config: EvidenceConfig = RECONSTRUCTIONS,
    learned: Sequence[tuple[str, Learned]] = (),
    start: int = 0,
    step: int = 1,
    report: Callable[[int], object] = lambda _: None,
) -> None:
    """Write reconstructions with their evidence, rounded up to shards of 5 targets; shards that are there stay.

    A shard depends on the pools, the configurations, the seed and its number only.

    Parameters
    ----------
    pools
        See `mriqf.training.groups.shards.read_pools`.
    origin
        Origin of the pools, as plain JSON values: manifest, split, networks.
    out_folder
        Folder of the shards; made if it is not there.
    n_targets
        Targets in all.
    seed
        Seed of all shards.
    learned
        See `mriqf.training.evidence.draw.draw_examples`.
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
        while len(drawn) < TARGETS:
            target = draw_target(pools, rng, targets)
            if examples := draw_examples(target, rng, config, learned):
                drawn.append((target, examples))
        return _stacked(drawn, k)

    terms = origin | {"seed": seed, "targets": asdict(targets), "config": asdict(config)}
    terms |= {"findings": FINDINGS, "channels": CHANNELS}
    write_shards(out_folder, terms, range(start, -(-n_targets // TARGETS), step), draw, report)


def read_evidence(*folders: Path) -> dict[str, Any]:
    """All examples of folders.

    Returns
    -------
    dict
        Lists of arrays: `image`, uint16 (h, w); `cells`, float32 (i, j), root mean square error of cells, -1 outside
        the object; `channels`, float32 (k, i, j). Arrays of `findings` (n, m), and of `group` (the target), `nrmse`,
        `ssim`, `acceleration`, `family`, `method`, `dataset`, `subject`.

    Raises
    ------
    ValueError
        If a folder has no shards, or shards of another version.
    """
    columns: dict[str, list] = {}
    for path, shard in open_shards(folders, "mriqf data evidence"):
        if "findings" not in shard or shard["findings"].shape[1] != len(FINDINGS):
            raise ValueError(f"{path} is no evidence of this version: make it by mriqf data evidence")
        shape = shard.pop("shape")
        grid = -(-shape // CELL)
        ends, borders = np.cumsum(shape.prod(1))[:-1], np.cumsum(grid.prod(1))[:-1]
        images, cells = np.split(shard.pop("pixels"), ends), np.split(shard.pop("cells"), borders)
        channels = np.split(shard.pop("channels"), len(CHANNELS) * borders)
        columns.setdefault("image", []).extend(x.reshape(s) for x, s in zip(images, shape, strict=True))
        columns.setdefault("cells", []).extend(x.reshape(s) for x, s in zip(cells, grid, strict=True))
        columns.setdefault("channels", []).extend(
            x.reshape(len(CHANNELS), *s) for x, s in zip(channels, grid, strict=True)
        )
        for name, values in shard.items():
            columns.setdefault(name, []).append(values)
    listed = ("image", "cells", "channels")
    return {name: v if name in listed else np.concatenate(v) for name, v in columns.items()}


def _stacked(drawn: Sequence[tuple[Target, list[Example]]], shard: int) -> dict[str, Any]:
    rows = [(k, target, example) for k, (target, examples) in enumerate(drawn) for example in examples]
    return {
        **pixels([e.image for *_, e in rows]),
        "cells": np.concatenate([root(e.excess).astype(np.float32).ravel() for *_, e in rows]),
        "channels": np.concatenate([e.channels.numpy().astype(np.float32).ravel() for *_, e in rows]),
        "findings": np.stack([e.findings.numpy() for *_, e in rows]),
        "group": np.array([TARGETS * shard + k for k, *_ in rows]),
        "nrmse": np.array([e.nrmse for *_, e in rows], np.float32),
        "ssim": np.array([e.ssim for *_, e in rows], np.float32),
        **labels(rows),
    }
