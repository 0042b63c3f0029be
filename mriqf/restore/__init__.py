"""Networks that take compression artefacts out of images: one file each, sizes in, sizes out."""

from mriqf.restore.arcnn import ARCNN, ARCNNConfig
from mriqf.restore.srcnn import SRCNN, SRCNNConfig

__all__ = ["ARCNN", "SRCNN", "ARCNNConfig", "SRCNNConfig"]
