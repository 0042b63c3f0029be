"""Reading reconstructions of every common format slice by slice; writing maps and pictures of quality."""

from mriqf.io.arrays import from_array
from mriqf.io.atomic import atomic_path
from mriqf.io.nifti import write_map
from mriqf.io.overlay import write_overlay
from mriqf.io.sniff import read
from mriqf.io.volume import ReadError, Volume

__all__ = ["ReadError", "Volume", "atomic_path", "from_array", "read", "write_map", "write_overlay"]
