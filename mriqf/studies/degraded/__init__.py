"""Degraded images whose errors are known, to train and test what sees no reference."""

from mriqf.studies.degraded.cache import generate, read_origin, read_shards, shard_count
from mriqf.studies.degraded.draw import FAMILIES, Example, draw, local_error

__all__ = ["FAMILIES", "Example", "draw", "generate", "local_error", "read_origin", "read_shards", "shard_count"]
