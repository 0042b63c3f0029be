"""A cache of degraded images in shards, which processes can share out among them and resume."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mriqf import metrics
from mriqf.io import atomic_path
from mriqf.training.degraded.draw import FAMILIES, LEAST_OBJECT, SIDE, Example, draw
from mriqf.training.degraded.targets import as_slice
from mriqf.training.manifest import Manifest, Source, Split, read_slices, read_source

Targets = np.ndarray | list[np.ndarray]

PHOTOGRAPH = "photograph"
"""The subject of examples whose target is no MR image."""

SHARD = 40
"""Examples of a shard, each family as often."""


def generate(
    manifest: Manifest,
    root: Path,
    split: Split,
    out_folder: Path,
    n: int,
    seed: int,
    *,
    start: int = 0,
    step: int = 1,
    report: Callable[[int], object] = lambda _: None,
) -> None:
    """Write `n` examples of a split, rounded up to shards of 40; shards that are there are left alone.

    A shard depends on the manifest, the split, the seed and its number only, and has each family four times.

    Parameters
    ----------
    manifest, root
        Magnitude images and photographs, and their folder; sources are drawn by their weights.
    split
        train, val or test.
    out_folder
        Folder of the shards; made if it is not there.
    n
        Examples.
    seed
        Seed of all shards.
    start, step
        Take shards start, start + step, …: several processes can share the work.
    report
        Gets the number of shards done, one at a time.

    Raises
    ------
    ValueError
        If the manifest has no images of the split, the data differ from it, or the folder has examples of another.
    """
    sources = manifest.split(split)
    if not sources:
        raise ValueError(f"manifest {manifest.name} has no sources for split={split}: choose another")
    pools = [_targets(s, root) for s in sources]
    names = [Path(s.path).stem for s in sources]
    share = np.array([s.weight for s in sources]) / sum(s.weight for s in sources)
    out_folder.mkdir(parents=True, exist_ok=True)
    sign(out_folder, {"manifest": {"name": manifest.name, "sha256": manifest.sha256}, "split": split, "seed": seed})
    for k in range(start, shard_count(n), step):
        path = out_folder / f"{manifest.name}-{split}-{seed}-{k:05d}.npz"
        if not path.exists():
            rng = np.random.default_rng((seed, k))
            examples = []
            for family in rng.permutation(FAMILIES * (SHARD // len(FAMILIES))):
                i = int(rng.choice(len(pools), p=share))
                slice_, subject = _usable(*pools[i], rng)
                examples.append(draw(slice_, str(family), rng.random(), rng, dataset=names[i], subject=subject))
            with atomic_path(path, force=True) as temporary:
                np.savez(temporary, **_stack(examples))
        report(1)


def read_origin(folder: Path) -> dict[str, Any]:
    """Origin of a folder's examples: manifest (name and hash), split, seed.

    Raises
    ------
    ValueError
        If the folder has no file of it.
    """
    try:
        return json.loads((folder / "origin.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"{folder} has no origin.json: make its examples by mriqf data degrade") from None


def sign(folder: Path, origin: dict[str, Any]) -> None:
    """Store the origin of a folder's examples; raise ValueError if it has some of another origin."""
    path = folder / "origin.json"
    if not path.exists():
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(origin) + "\n", encoding="utf-8")
    elif (stored := read_origin(folder)) != origin:
        raise ValueError(f"{folder} has examples of {stored}, not of {origin}: choose another folder")


def shard_count(n: int) -> int:
    """Shards that hold at least `n` examples."""
    return math.ceil(n / SHARD)


def read_shards(*folders: Path) -> dict[str, np.ndarray]:
    """All examples of folders, stacked.

    Returns
    -------
    dict
        `image` and `error`, float16 (n, 256, 256), the images padded with zeros and the errors with -1 as outside the
        object; `shape` (n, 2), their size before; `nrmse`, `ssim`,
        `acceleration` (NaN where everything was sampled), `level`; `family`, `dataset`, `subject` (text).

    Raises
    ------
    ValueError
        If a folder has no shards.
    """
    shards = []
    for folder in folders:
        paths = [path for path in sorted(folder.glob("*.npz")) if not path.name.startswith(".")]  # being written
        if not paths:
            raise ValueError(f"{folder} holds no shards: make some by mriqf data degrade")
        for path in paths:
            with np.load(path, allow_pickle=False) as archive:
                shards.append(dict(archive))
    names = [name for name in shards[0] if all(name in shard for shard in shards)]  # earlier ones knew fewer
    return {name: np.concatenate([shard[name] for shard in shards]) for name in names}


def _stack(examples: Sequence[Example]) -> dict[str, Any]:
    def padded(x: np.ndarray, value: int) -> np.ndarray:
        result = np.full((SIDE, SIDE), value, np.float16)
        result[: x.shape[0], : x.shape[1]] = x
        return result

    rows = [asdict(e) | {"shape": e.image.shape} for e in examples]
    stacked = {name: np.array([r[name] for r in rows]) for name in rows[0] if name not in _PLANES}
    stacked["image"] = np.stack([padded(e.image, 0) for e in examples])
    stacked["error"] = np.stack([padded(e.error, -1) for e in examples])
    return stacked


_PLANES = ("image", "error", "foreground")  # the last is where the error is not -1


def _targets(source: Source, root: Path) -> tuple[Targets, list[str]]:
    """Slices or photographs of a source, and the subject of each."""
    if (root / source.path).is_dir() and source.files is None:
        photos = read_source(source, root)
        return photos, [PHOTOGRAPH] * len(photos)
    slices, subjects = read_slices(source, root)
    return slices, [str(s) for s in subjects]


def _usable(slices: Targets, subjects: Sequence[str], rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """A slice with enough of the object in it, and its subject."""
    for _ in range(100):
        j = int(rng.integers(len(slices)))
        pixels = as_slice(slices[j], rng) if subjects[j] == PHOTOGRAPH else slices[j]
        if pixels.any() and metrics.object_mask(torch.from_numpy(pixels)[None, None]).float().mean() > LEAST_OBJECT:
            return pixels, subjects[j]
    raise ValueError(f"{len(slices)} images of a source show hardly any object: leave this source out")
