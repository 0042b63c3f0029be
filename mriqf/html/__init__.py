"""One page that shows what `mriqf score` found: table, distribution, and slices under their quality maps."""

from mriqf.html.page import page
from mriqf.html.pictures import Picture, draw
from mriqf.html.scores import ScoredSlice, ScoredVolume, deviations, read_scores, read_tables, worst_first

__all__ = [
    "Picture",
    "ScoredSlice",
    "ScoredVolume",
    "deviations",
    "draw",
    "page",
    "read_scores",
    "read_tables",
    "worst_first",
]
