"""HTML pages of the scores of `mriqf score`: of all volumes, or of the same scans by two reconstructions."""

from mriqf.html.compare import compare
from mriqf.html.page import page
from mriqf.html.pairs import PairedVolume, mean_change, most_changed, read_pairs
from mriqf.html.pictures import Picture, draw
from mriqf.html.scores import ScoredSlice, ScoredVolume, deviations, read_scores, read_tables, worst_first

__all__ = [
    "PairedVolume",
    "Picture",
    "ScoredSlice",
    "ScoredVolume",
    "compare",
    "deviations",
    "draw",
    "mean_change",
    "most_changed",
    "page",
    "read_pairs",
    "read_scores",
    "read_tables",
    "worst_first",
]
