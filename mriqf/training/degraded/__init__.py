"""Degraded images with known errors, to train and test reference-free predictors."""

from mriqf.training.degraded.cache import generate, read_origin, read_shards, shard_count
from mriqf.training.degraded.draw import FAMILIES, Example, draw, local_error

__all__ = ["FAMILIES", "Example", "draw", "generate", "local_error", "read_origin", "read_shards", "shard_count"]
