"""Many volumes at once: which there are, several processes that score them, and a dataset that keeps what is done."""

from mriqf.batch.cluster import scatter, workers
from mriqf.batch.dataset import Dataset, read_rows
from mriqf.batch.inputs import find_inputs, state

__all__ = ["Dataset", "find_inputs", "read_rows", "scatter", "state", "workers"]
