"""Trained networks by name: `list_models`, `load`."""

from pathlib import Path
from typing import Any, Literal, overload

import torch

from mriqf import weights
from mriqf.predictors.error import ErrorPredictor
from mriqf.predictors.nrmse import NRMSEPredictor
from mriqf.predictors.qf import QFPredictor
from mriqf.restore import ARCNN, QAIRN, QGAC, QGCN, SRCNN

Device = str | torch.device


def list_models() -> tuple[str, ...]:
    """Names of the networks that come with the package: what `load`, `score`, `quality` and `--weights` take.

    Examples
    --------
    >>> import mriqf
    >>> "qf-mri" in mriqf.list_models()
    True
    """
    return weights.names()


@overload
def load(name: Literal["qf-mri"] = "qf-mri", device: Device = "cpu") -> NRMSEPredictor: ...
@overload
def load(name: Literal["qf-mri-1"], device: Device = "cpu") -> ErrorPredictor: ...
@overload
def load(
    name: Literal["qf-gray", "qf-gray-cui", "qf-gray-cui-fov11", "qf-rgb"], device: Device = "cpu"
) -> QFPredictor: ...
@overload
def load(name: Literal["arcnn-gray", "arcnn-rgb"], device: Device = "cpu") -> ARCNN: ...
@overload
def load(name: Literal["srcnn-gray", "srcnn-rgb"], device: Device = "cpu") -> SRCNN: ...
@overload
def load(name: Literal["qgcn-gray", "qgcn-rgb"], device: Device = "cpu") -> QGCN: ...
@overload
def load(name: Literal["qgac-gray", "qgac-rgb"], device: Device = "cpu") -> QGAC: ...
@overload
def load(name: Literal["qairn-gray", "qairn-rgb"], device: Device = "cpu") -> QAIRN: ...
@overload
def load(name: str | Path, device: Device = "cpu") -> Any: ...
def load(name: str | Path = "qf-mri", device: Device = "cpu") -> Any:
    """A trained network of whatever kind the weights are, frozen and in evaluation mode: see `mriqf.weights.load`.

    Parameters
    ----------
    name
        One of `list_models`, or the path of a safetensors file.
    device
        Device of the network.

    Raises
    ------
    ValueError
        If there are no such weights, or the file holds something else.
    """
    return weights.load(name, device)
