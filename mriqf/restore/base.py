"""Loading of networks that restore JPEG images, by name or path of their weights."""

from pathlib import Path

import torch

from mriqf.restore.arcnn import ARCNN
from mriqf.restore.qairn import QAIRN
from mriqf.restore.qgac import QGAC
from mriqf.restore.qgcn import QGCN
from mriqf.restore.srcnn import SRCNN
from mriqf.weights import load

Network = ARCNN | QAIRN | QGAC | QGCN | SRCNN


def load_restorer(name: str | Path, device: str | torch.device = "cpu") -> Network:
    """Load weights, by name or path, of a network that restores JPEG images.

    Raises
    ------
    ValueError
        If the weights are of another kind of network.
    """
    model = load(name, device)
    if not isinstance(model, Network):
        raise ValueError(f"weights {str(name)!r} are a {type(model).__name__}'s, which restores no JPEG: choose others")
    return model
