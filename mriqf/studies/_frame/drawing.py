"""Figures of studies, drawn without a display."""

from typing import Any


def new_figure(width: int | float, height: int | float) -> Any:
    """Empty matplotlib figure; sides in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
