"""Reading reconstructions and raw data of every common format slice by slice; writing maps and pictures of quality."""

from mriqf.io.arrays import from_array
from mriqf.io.atomic import atomic_path
from mriqf.io.axis import Axis, cut_along
from mriqf.io.discovery import find_inputs
from mriqf.io.kspace import EmptySliceError, KSpace
from mriqf.io.nifti import write_map
from mriqf.io.overlay import write_overlay
from mriqf.io.rawdata import read_kspace
from mriqf.io.sampling import Sampling, find_sampling
from mriqf.io.sniff import as_volume, read
from mriqf.io.volume import ReadError, Volume

__all__ = [
    "Axis",
    "EmptySliceError",
    "KSpace",
    "ReadError",
    "Sampling",
    "Volume",
    "as_volume",
    "atomic_path",
    "cut_along",
    "find_inputs",
    "find_sampling",
    "from_array",
    "read",
    "read_kspace",
    "write_map",
    "write_overlay",
]
