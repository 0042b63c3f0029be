"""Reading reconstructions and raw data of every common format slice by slice; writing maps and pictures of quality."""

from mriqf.io.arrays import from_array
from mriqf.io.atomic import atomic_path
from mriqf.io.kspace import KSpace
from mriqf.io.nifti import write_map
from mriqf.io.overlay import write_overlay
from mriqf.io.rawdata import read_kspace
from mriqf.io.sampling import Sampling, find_sampling
from mriqf.io.sniff import read
from mriqf.io.volume import ReadError, Volume

__all__ = [
    "KSpace",
    "ReadError",
    "Sampling",
    "Volume",
    "atomic_path",
    "find_sampling",
    "from_array",
    "read",
    "read_kspace",
    "write_map",
    "write_overlay",
]
