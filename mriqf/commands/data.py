"""`mriqf data`: whether the data that a manifest names are there and are the right ones; degraded images of them."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from tqdm import tqdm

from mriqf.training.groups.degrade import DegradeConfig
from mriqf.training.manifest import Manifest, Source, Split, read_manifest, verify

app = App(name="data", help="Check the data that a manifest names, list them, or degrade them to train on.")
Folder = Annotated[Path, Parameter(alias="--root")]  # its name in earlier releases


@app.command(name="verify")
def verify_data(manifest: Path, *, data: Folder) -> int:
    """Check that every source of a manifest is there, whole, and in one split only.

    Prints one tab-separated line a source: ok, missing or changed, split, path, and what is wrong.

    Parameters
    ----------
    manifest
        Which data: see data_manifests/.
    data
        Folder that the manifest's paths start from.

    Returns
    -------
    0, or 1 if anything is wrong.
    """
    wrong = 0
    for source, state, reason in check(read_manifest(manifest), data):
        wrong += state != "ok"
        print(state, source.split, source.path, reason, sep="\t", flush=True)  # noqa: T201
    return 1 if wrong else 0


@app.command(name="list")
def list_data(manifest: Path, *, data: Folder, split: Split | None = None) -> None:
    """Print the files of a manifest that are there, one a line.

    Parameters
    ----------
    manifest
        Which data: see data_manifests/.
    data
        Folder that the manifest's paths start from.
    split
        train, val or test; all if not given.
    """
    chosen = read_manifest(manifest)
    sources = chosen.sources if split is None else chosen.split(split)
    for file in dict.fromkeys(file for source in sources for file in source.find(data)):
        print(file)  # noqa: T201


@app.command
def degrade(
    manifest: Path,
    *,
    data: Folder,
    out: Path,
    n: int = 4000,
    split: Split = "train",
    seed: int = 0,
    start: int = 0,
    step: int = 1,
) -> None:
    """Keep degraded MR images and their errors, to train on; a run that was cut off goes on where it was.

    Parameters
    ----------
    manifest
        Which magnitude images, which subjects: see data_manifests/.
    data
        Folder that the manifest's paths start from.
    out
        Folder for the shards of 40 examples; those that are there are kept.
    n
        Examples, rounded up to whole shards.
    split
        train, val or test.
    seed
        Of every random choice.
    start, step
        Make shards start, start + step, … only: several runs can share the work.
    """
    from mriqf.training.degraded import generate, shard_count

    shards = range(start, shard_count(n), step)
    with tqdm(desc="degrade", total=len(shards), file=sys.stderr, disable=None, leave=False, unit="shard") as bar:
        generate(read_manifest(manifest), data, split, out, n, seed, start=start, step=step, report=bar.update)


@app.command
def groups(
    manifest: Path,
    *,
    data: Folder,
    out: Path,
    n: int = 1000,
    split: Split = "train",
    degradation: Annotated[DegradeConfig, Parameter(name="*")] = DegradeConfig(),  # noqa: B008 (frozen)
    networks: tuple[str, ...] = (),
    seed: int = 0,
    start: int = 0,
    step: int = 1,
) -> None:
    """Keep groups of degraded images of one target each, to train NRMSE predictors on; a run that was cut off goes on.

    Parameters
    ----------
    manifest
        Which magnitude images and photographs, which subjects: see data_manifests/.
    data
        Folder that the manifest's paths start from.
    out
        Folder for the shards of 25 groups; those that are there are kept.
    n
        Groups, rounded up to whole shards.
    split
        train, val or test.
    degradation
        Options of the degradations.
    networks
        Names or paths of reconstruction networks whose images are among them.
    seed
        Of every random choice.
    start, step
        Make shards start, start + step, … only: several runs can share the work.
    """
    from mriqf.training.groups.shards import GROUPS, generate, read_pools

    chosen, learned = read_manifest(manifest), _networks(networks)
    pools, shards = read_pools(chosen, data, split), range(start, -(-n // GROUPS), step)
    with tqdm(desc="groups", total=len(shards), file=sys.stderr, disable=None, leave=False, unit="shard") as bar:
        generate(
            pools, _origin(chosen, split, learned), out, n, seed, config=degradation, learned=learned, start=start,
            step=step, report=bar.update,
        )  # fmt: skip


@app.command
def evidence(
    manifest: Path,
    *,
    data: Folder,
    out: Path,
    n: int = 500,
    split: Split = "train",
    networks: tuple[str, ...] = (),
    seed: int = 0,
    start: int = 0,
    step: int = 1,
) -> None:
    """Keep reconstructions with what their k-space says of them, to train k-space predictors on; cut off, it goes on.

    Parameters
    ----------
    manifest
        Which magnitude images and photographs, which subjects: see data_manifests/.
    data
        Folder that the manifest's paths start from.
    out
        Folder for the shards of 5 targets; those that are there are kept.
    n
        Targets, each reconstructed four times, rounded up to whole shards.
    split
        train, val or test.
    networks
        Names or paths of reconstruction networks whose images are among them; for training none that is shipped.
    seed
        Of every random choice.
    start, step
        Make shards start, start + step, … only: several runs can share the work.
    """
    from mriqf.training.evidence.shards import TARGETS, generate
    from mriqf.training.groups.shards import read_pools

    chosen, learned = read_manifest(manifest), _networks(networks)
    pools, shards = read_pools(chosen, data, split), range(start, -(-n // TARGETS), step)
    with tqdm(desc="evidence", total=len(shards), file=sys.stderr, disable=None, leave=False, unit="shard") as bar:
        origin = _origin(chosen, split, learned)
        generate(pools, origin, out, n, seed, learned=learned, start=start, step=step, report=bar.update)


def _networks(names: Sequence[str]) -> list[tuple[str, Any]]:
    """Names and reconstructions of networks."""
    import torch

    from recon import fast
    from recon.weights import load_network

    return [(Path(name).stem, torch.inference_mode()(fast(load_network(name)))) for name in names]


def _origin(manifest: Manifest, split: Split, learned: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Where examples come from."""
    return {
        "manifest": {"name": manifest.name, "sha256": manifest.sha256},
        "split": split,
        "learned": [name for name, _ in learned],
    }


def check(manifest: Manifest, root: Path) -> Iterator[tuple[Source, str, str]]:
    """State of each source, ok, missing or changed, and what is wrong in one line, empty if nothing is."""
    home: dict[str, Source] = {}  # of the names of counted files, which stand for their subjects
    for source in manifest.sources:
        state, reason = "ok", ""
        try:
            verify(source, root)
        except FileNotFoundError as error:
            state, reason = "missing", str(error)
        except (ValueError, OSError) as error:
            state, reason = "changed", " ".join(str(error).split())
        for file in source.find(root) if source.files is not None else []:
            other = home.setdefault(file.name, source)
            if other.split != source.split:
                state, reason = "changed", f"{file} is also in {other.path}, for {other.split}: keep it in one split"
        yield source, state, reason
