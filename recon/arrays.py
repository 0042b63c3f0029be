"""NumPy arrays where tensors are expected, such as those that h5py reads."""

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor


def as_tensor(array: Shaped[Tensor, "..."] | Shaped[np.ndarray, "..."]) -> Shaped[Tensor, "..."]:
    """The tensor itself, or a copy of an array, whatever its byte order."""
    if isinstance(array, Tensor):
        return array
    return torch.from_numpy(np.array(array, array.dtype.newbyteorder("=")))
