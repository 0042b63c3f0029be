"""Many volumes at once: several processes that score them, and a dataset that keeps what is done."""

from mriqf.batch.cluster import scatter, workers
from mriqf.batch.dataset import Dataset, read_rows
from mriqf.batch.state import state

__all__ = ["Dataset", "read_rows", "scatter", "state", "workers"]
