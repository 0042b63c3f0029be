"""Trained weights: one safetensors file each, configuration and provenance in its metadata, no pickles."""

import dataclasses
import difflib
import hashlib
import importlib
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mriqf.io.atomic import atomic_path
from mriqf.io.bounds import WHOLE, check_regular

FOLDERS = tuple(Path(__file__).parents[1] / package / "pretrained" for package in ("mriqf", "recon"))
FORMAT = "mriqf-1"
MOST = 4096  # no number of a configuration is larger
NETWORKS = {  # name in a card to module, network and configuration, imported on use
    "qf": ("mriqf.predictors.qf", "QFPredictor", "QFConfig"),
    "error": ("mriqf.predictors.error", "ErrorPredictor", "ErrorConfig"),
    "nrmse": ("mriqf.predictors.nrmse", "NRMSEPredictor", "NRMSEConfig"),
    "kspace": ("mriqf.predictors.kspace", "KSpacePredictor", "KSpaceConfig"),
    "arcnn": ("mriqf.restore.arcnn", "ARCNN", "ARCNNConfig"),
    "srcnn": ("mriqf.restore.srcnn", "SRCNN", "SRCNNConfig"),
    "qgcn": ("mriqf.restore.qgcn", "QGCN", "QGCNConfig"),
    "qgac": ("mriqf.restore.qgac", "QGAC", "QGACConfig"),
    "qairn": ("mriqf.restore.qairn", "QAIRN", "QAIRNConfig"),
    "modl": ("recon.modl", "MoDL", "MoDLConfig"),
    "varnet": ("recon.varnet", "VarNet", "VarNetConfig"),
}


def names() -> tuple[str, ...]:
    """Names of the shipped weights."""
    return tuple(sorted(p.stem for folder in FOLDERS for p in folder.glob("*.safetensors")))


def find(name: str | Path) -> Path:
    """Find the file of shipped weights by name, or of any weights by path.

    Raises
    ------
    ValueError
        If there is no such name or file; the message suggests names.
    """
    for path in (*(folder / f"{name}.safetensors" for folder in FOLDERS), Path(name)):
        if path.suffix == ".safetensors" and path.is_file():
            return path
    kinds = [known for known in names() if known in (f"{name}-gray", f"{name}-rgb")]
    close = difflib.get_close_matches(str(name), names(), 1)
    hint = (
        f"did you mean {' or '.join(kinds or close)}?"
        if kinds or close
        else f"shipped are {', '.join(names())}; or give a .safetensors file"
    )
    raise ValueError(f"weights {str(name)!r} not found: {hint}")


def load(name: str | Path = "qf-mri", device: str | torch.device = "cpu") -> Any:
    """Load a trained network (`QFPredictor`, `MoDL`, …), frozen and in evaluation mode.

    Parameters
    ----------
    name
        Shipped weights (`qf-mri`, `modl-knee`; `names` lists them) or the path of a safetensors file.
    device
        Device of the network.

    Raises
    ------
    ValueError
        If there are no such weights, or the file holds something else.
    """
    path = find(name)
    tensors, card = read(path)
    try:
        module, network, config = NETWORKS[card.get("network", "qf")]
        imported = importlib.import_module(module)
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in card["config"].items()}  # JSON has no tuples
        if not all(0 <= number <= MOST for number in _numbers(options)):
            raise ValueError("numbers of the configuration out of range")
        make, options = getattr(imported, network), getattr(imported, config)(**options)
        with warnings.catch_warnings(), _Budget(sum(tensor.numel() for tensor in tensors.values())):
            warnings.simplefilter("ignore")  # warnings about layers without weights
            model = make(options)
        model.load_state_dict(tensors)
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise ValueError("NaN or infinite weights")
    except Exception:  # torch raises errors of every kind for a damaged card
        raise ValueError(f"{path} holds no network of this version: train it again, or update mriqf") from None
    model.name = str(name)
    return model.eval().requires_grad_(False).to(device)


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and card (configuration, provenance, metrics) of a weights file or checkpoint.

    Raises
    ------
    ValueError
        If the file is damaged or not one of ours.
    """
    try:
        check_regular(Path(path))
        if Path(path).stat().st_size > WHOLE:
            raise ValueError
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        if metadata.get("format") != FORMAT:
            raise ValueError
        card = json.loads(metadata["card"])
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError):
        raise ValueError(f"{path} is no mriqf weights file, or is damaged: copy it again") from None
    return tensors, card


def write(path: str | Path, tensors: dict[str, Tensor], card: dict[str, Any], *, force: bool = False) -> None:
    """Write tensors and card into one file, atomically.

    Raises
    ------
    FileExistsError
        If the file exists and `force` is not given.
    """
    data = save(
        {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"format": FORMAT, "card": json.dumps(card)}
    )
    with atomic_path(Path(path), force) as temporary:
        temporary.write_bytes(data)


def average(files: Sequence[str | Path], shares: Sequence[float]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weighted mean of the weights of one network, and the card of the last file with the averaged files.

    The mean over trainings that began with the same weights often generalises better than each of them.

    Parameters
    ----------
    files
        Names or files of weights, or checkpoints of trainings, whose averaged weights are used; the last must not be a
        checkpoint.
    shares
        Share of each file; they sum to one.

    Raises
    ------
    ValueError
        If the files hold different networks, the shares do not fit the files, or the last file is a checkpoint.

    References
    ----------
    Wortsman et al., Model soups: averaging weights of multiple fine-tuned models, ICML 2022, arXiv:2203.05482.
    """
    if len(shares) != len(files) or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares are {list(shares)}: give one for each of the {len(files)} files, summing to 1")
    parts, card, kept = [], {}, "average."
    files = [Path(file) if Path(file).is_file() else find(file) for file in files]
    for file in files:
        tensors, card = read(file)
        averaged = {key.removeprefix(kept): value for key, value in tensors.items() if key.startswith(kept)}
        parts.append(averaged or tensors)
        if {k: v.shape for k, v in parts[-1].items()} != {k: v.shape for k, v in parts[0].items()}:
            raise ValueError(f"{file} holds another network than {files[0]}: average weights of one network")
    if "network" not in card:
        raise ValueError(f"{files[-1]} is a checkpoint: give the weights of a finished training last")
    mean = {}
    for key, value in parts[-1].items():
        terms = torch.stack([share * part[key].double() for share, part in zip(shares, parts, strict=True)])
        mean[key] = terms.sum(0).to(value.dtype)
    what = [{"sha256": tensors_hash(file), "share": share} for file, share in zip(files, shares, strict=True)]
    return mean, {key: value for key, value in card.items() if key not in ("validation", "curve")} | {"average": what}


def read_checkpoint(path: Path, recipe: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and card of an interrupted training; the card has its `step`.

    Raises
    ------
    ValueError
        If the file is damaged, or belongs to another recipe.
    """
    tensors, card = read(path)
    if not isinstance(card, dict) or not isinstance(card.get("step"), int) or "recipe" not in card:
        raise ValueError(f"{path} is no checkpoint: remove it to start anew")
    if card["recipe"] != recipe:
        raise ValueError(f"{path} belongs to another recipe: give the same options, or remove it to start anew")
    return tensors, card


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """State of an optimiser as named tensors of a checkpoint."""
    states = optimiser.state_dict()["state"].items()
    return {f"optimiser.{index}.{name}": value for index, state in states for name, value in state.items()}


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Load the state of an optimiser from the tensors of a checkpoint; other tensors are ignored."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def tensors_hash(path: str | Path) -> str:
    """SHA-256 of the weights in a file, independent of the order of tensors and of the card."""
    digest = hashlib.sha256()
    for name, tensor in sorted(read(path)[0].items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


class _Budget(TorchFunctionMode):
    """Abort the construction of a network with far more weights than its file, before it fills memory."""

    def __init__(self, weights: int):
        super().__init__()
        self._left = 2 * weights + 2**22

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.empty, torch.zeros, torch.ones):
            self._left -= max(result.numel(), 2**10)  # even a small layer takes time
            if self._left < 0:
                raise ValueError("a larger network than that of the file")
        return result


def _numbers(options: Any) -> Iterator[int | float]:
    """All numbers of a nested configuration."""
    for value in options.values() if isinstance(options, dict) else options:
        if isinstance(value, dict | list | tuple):
            yield from _numbers(value)
        elif isinstance(value, int | float):
            yield value


def config_dict(config: Any) -> dict[str, Any]:
    """A frozen configuration as plain JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(config)))
