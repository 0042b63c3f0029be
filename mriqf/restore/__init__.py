"""Networks that remove JPEG artefacts, one file each: images and quantisation tables in, restored images out."""

from mriqf.restore.arcnn import ARCNN, ARCNNConfig
from mriqf.restore.base import Network, load_restorer
from mriqf.restore.qairn import QAIRN, QAIRNConfig
from mriqf.restore.qgac import QGAC, QGACConfig
from mriqf.restore.qgcn import QGCN, QGCNConfig
from mriqf.restore.srcnn import SRCNN, SRCNNConfig
from mriqf.restore.tiled import restore

__all__ = [
    "ARCNN",
    "QAIRN",
    "QGAC",
    "QGCN",
    "SRCNN",
    "ARCNNConfig",
    "Network",
    "QAIRNConfig",
    "QGACConfig",
    "QGCNConfig",
    "SRCNNConfig",
    "load_restorer",
    "restore",
]
