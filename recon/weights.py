"""Trained reconstruction networks: one safetensors file each, with its configuration in the metadata."""

import json
from pathlib import Path

import torch

from recon.inference import for_inference
from recon.modl import MoDL, MoDLConfig
from recon.varnet import VarNet, VarNetConfig

FOLDER = Path(__file__).parent / "pretrained"
NETWORKS = {"modl": (MoDL, MoDLConfig), "varnet": (VarNet, VarNetConfig)}


def names() -> tuple[str, ...]:
    """Names of the networks that come with the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.safetensors")))


def load_network(name: str | Path, device: str | torch.device = "cpu") -> MoDL | VarNet:
    """A trained network as it runs for inference (`recon.for_inference`), frozen.

    Parameters
    ----------
    name
        Name of shipped weights, such as ``modl``, or the path of a safetensors file.
    device
        Device of the network.

    Raises
    ------
    ValueError
        If there are no such weights, or the file holds something else.
    """
    from safetensors import SafetensorError, safe_open

    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        raise ValueError(
            f"weights {str(name)!r} not found: shipped are {', '.join(names())}; or give a .safetensors file"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})["card"])
            network, config = NETWORKS[metadata["network"]]
            options = {k: tuple(v) if isinstance(v, list) else v for k, v in metadata["config"].items()}
            model = network(config(**options))
            model.load_state_dict({key: file.get_tensor(key).float() for key in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError):
        raise ValueError(f"{path} holds no reconstruction network of this version: give weights of one") from None
    model.name = str(name)
    return for_inference(model.eval().to(device))
