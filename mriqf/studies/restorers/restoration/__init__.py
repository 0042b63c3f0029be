"""Restoration of JPEG images, measured as the papers do it: three protocols whose figures must not be mixed."""

from mriqf.studies.restorers.restoration.answer import answer
from mriqf.studies.restorers.restoration.figures import draw_gains, draw_pictures
from mriqf.studies.restorers.restoration.jpeg_rows import PRINTED, Means, means
from mriqf.studies.restorers.restoration.protocols import (
    FBCNN,
    PROTOCOLS,
    QGAC,
    QGCN,
    Measured,
    Protocol,
    Restorer,
    measure,
)
from mriqf.studies.restorers.restoration.study import (
    COLUMNS,
    KEY,
    RestorationConfig,
    card,
    load_methods,
    pictures,
    tasks,
)

__all__ = [
    "COLUMNS",
    "FBCNN",
    "KEY",
    "PRINTED",
    "PROTOCOLS",
    "QGAC",
    "QGCN",
    "Means",
    "Measured",
    "Protocol",
    "RestorationConfig",
    "Restorer",
    "answer",
    "card",
    "draw_gains",
    "draw_pictures",
    "load_methods",
    "means",
    "measure",
    "pictures",
    "tasks",
]
