"""Set-up of our own worker processes."""

import signal
from typing import Any


def dask_setup(worker: Any) -> None:  # noqa: ARG001 (Dask calls it)
    """Leave Ctrl-C to the command, which ends its workers; a terminal sends it to all of them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
