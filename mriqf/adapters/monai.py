"""The score as MONAI's dictionary transforms are: a dictionary with images comes in, and leaves with their scores.

Needs no MONAI.

>>> from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged  # doctest: +SKIP
>>> from mriqf.adapters.monai import QFScored  # doctest: +SKIP
>>> load = Compose([LoadImaged("image"), EnsureChannelFirstd("image"), QFScored("image")])  # doctest: +SKIP
>>> load({"image": "scan.nii.gz"})["image_score"]  # doctest: +SKIP
"""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mriqf.io import from_array
from mriqf.predictors.base import Predictor
from mriqf.scoring.resolution import Resolution
from mriqf.scoring.scorer import Scorer


class QFScored:
    """Adds the score of each image, 0–100, higher is better, under its key and a suffix.

    The score's unit is that of the weights: `mriqf.predictors.unit`.

    Images are as MONAI has them: one channel first, then x, y and, of volumes, z, along which slices follow; real, in
    any unit, or complex. A volume gets the score that `mriqf score` gives to its file. Transforms that change
    intensities or resample belong after this one.

    Parameters
    ----------
    keys
        Keys of the images.
    weights
        Name or path of trained weights, or a loaded predictor.
    pool
        Pool that turns the quality map into one number: see `mriqf.scoring.pooling.choose_pool`.
    resolution
        Treatment of an empty rim of k-space: see `mriqf.Scorer`.
    maps
        Add the quality map as well, a tensor of the image's shape, under its key and ``_map``.
    allow_missing_keys
        Pass over keys that a dictionary lacks.
    """

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        weights: str | Path | Predictor = "qf-mri",
        pool: str = "auto",
        *,
        resolution: Resolution = "own",
        maps: bool = False,
        allow_missing_keys: bool = False,
    ):
        self.keys = tuple(keys) if isinstance(keys, Sequence) and not isinstance(keys, str) else (keys,)
        self.scorer = Scorer(weights, pool=pool, resolution=resolution, calibration=None)
        self.maps = maps
        self.allow_missing_keys = allow_missing_keys

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Copy of a dictionary, with the scores; NaN where an image has no foreground.

        Raises
        ------
        KeyError
            If a key is missing.
        ValueError
            If an image is empty, constant, not finite, smaller than the predictor sees, or of another shape.
        """
        scored = dict(data)
        for key in self.keys:
            if key not in data:
                if self.allow_missing_keys:
                    continue
                known = ", ".join(map(str, data))
                raise KeyError(f"{key!r} is not in the dictionary ({known}): name its images, or allow_missing_keys")
            image = data[key]
            array = np.asarray(image.detach().cpu() if isinstance(image, torch.Tensor) else image)
            if array.ndim not in (3, 4) or len(array) != 1:
                raise ValueError(
                    f"{key} has shape {array.shape}: give (1, x, y) or (1, x, y, z), as EnsureChannelFirstd"
                )
            score = self.scorer(from_array(array[0].T, str(key)))  # rows are y, columns x, as files are read
            scored[f"{key}_score"] = score.value
            if self.maps:
                quality = score.map.T if array.ndim == 4 else score.map[0].T
                scored[f"{key}_map"] = torch.from_numpy(np.ascontiguousarray(quality[None]))
        return scored
