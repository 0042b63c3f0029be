"""`mriqf data`: check the data that a manifest names, list them, or make training data of them."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from tqdm import tqdm

from mriqf.cli import Flat
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


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """Options of commands that make training data in shards."""

    data: Folder
    """Folder that the manifest's paths start from."""
    out: Path
    """Folder for the shards; those that are there are kept."""
    split: Split = "train"
    """train, val or test."""
    seed: int = 0
    """Seed of every random choice."""
    start: int = 0
    """First shard to make; several runs can share the work."""
    step: int = 1
    """Make shards start, start + step, … only."""


@dataclass(frozen=True, kw_only=True)
class ReconstructionOptions(ShardOptions):
    """Options of commands whose training data may be reconstructed by networks."""

    networks: tuple[str, ...] = ()
    """Names or paths of reconstruction networks whose images are among them."""


@app.command
def degrade(manifest: Path, *, n: int = 4000, options: Flat[ShardOptions]) -> None:
    """Keep degraded MR images and their errors, to train on; a run that was cut off goes on where it was.

    Parameters
    ----------
    manifest
        Which magnitude images, which subjects: see data_manifests/.
    n
        Examples, rounded up to whole shards of 40.
    """
    from mriqf.training.degraded import generate, shard_count

    with _progress("degrade", shard_count(n), options) as report:
        generate(
            read_manifest(manifest), options.data, options.split, options.out, n, options.seed, start=options.start,
            step=options.step, report=report,
        )  # fmt: skip


@app.command
def groups(
    manifest: Path,
    *,
    n: int = 1000,
    options: Flat[ReconstructionOptions],
    degradation: Flat[DegradeConfig] = DegradeConfig(),  # noqa: B008 (frozen)
) -> None:
    """Keep groups of degraded images of one target each, to train NRMSE predictors on; a run that was cut off goes on.

    Parameters
    ----------
    manifest
        Which magnitude images and photographs, which subjects: see data_manifests/.
    n
        Groups, rounded up to whole shards of 25.
    degradation
        Options of the degradations.
    """
    from mriqf.training.groups.shards import GROUPS, generate

    _generate("groups", partial(generate, config=degradation), manifest, n, GROUPS, options)


@app.command
def evidence(manifest: Path, *, n: int = 500, options: Flat[ReconstructionOptions]) -> None:
    """Keep reconstructions with evidence from their k-space, to train k-space predictors on; a cut-off run goes on.

    For training, --networks must name no network that is shipped.

    Parameters
    ----------
    manifest
        Which magnitude images and photographs, which subjects: see data_manifests/.
    n
        Targets, each reconstructed four times, rounded up to whole shards of 5.
    """
    from mriqf.training.evidence.shards import TARGETS, generate

    _generate("evidence", generate, manifest, n, TARGETS, options)


@contextmanager
def _progress(name: str, count: int, options: ShardOptions) -> Iterator[Callable[..., object]]:
    """Progress bar over the shards of a run."""
    total = len(range(options.start, count, options.step))
    with tqdm(desc=name, total=total, file=sys.stderr, disable=None, leave=False, unit="shard") as bar:
        yield bar.update


def _generate(
    name: str, generate: Callable[..., object], manifest: Path, n: int, size: int, options: ReconstructionOptions
) -> None:
    """Generate `n` examples of a manifest in shards of `size`."""
    from mriqf.training.groups.shards import read_pools

    chosen, learned = read_manifest(manifest), _networks(options.networks)
    pools = read_pools(chosen, options.data, options.split)
    with _progress(name, -(-n // size), options) as report:
        generate(
            pools, _origin(chosen, options.split, learned), options.out, n, options.seed, learned=learned,
            start=options.start, step=options.step, report=report,
        )  # fmt: skip


def _networks(names: Sequence[str]) -> list[tuple[str, Any]]:
    """Load networks; returns their names and reconstruction functions."""
    import torch

    from recon import fast
    from recon.weights import load_network

    return [(Path(name).stem, torch.inference_mode()(fast(load_network(name)))) for name in names]


def _origin(manifest: Manifest, split: Split, learned: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Provenance of examples: manifest, split and networks."""
    return {
        "manifest": {"name": manifest.name, "sha256": manifest.sha256},
        "split": split,
        "learned": [name for name, _ in learned],
    }


def check(manifest: Manifest, root: Path) -> Iterator[tuple[Source, str, str]]:
    """State of each source (ok, missing or changed) and the error in one line, empty if there is none."""
    home: dict[str, Source] = {}  # source by name of a counted file, which stands for a subject
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
