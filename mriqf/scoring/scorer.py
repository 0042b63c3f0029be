"""Scores of volumes.

Lattice, scale, foreground and pool are part of a score: the same predictor gives other numbers under others, so what
was used is stored with every result.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Bool, Shaped

from mriqf.calibration import Calibration
from mriqf.calibration.file import attached
from mriqf.io import Axis, Volume, as_volume, cut_along, from_array
from mriqf.jpeg.lattice import Lattice
from mriqf.predictors.base import ErrorModel, Predictor, load_predictor
from mriqf.predictors.inference import for_inference
from mriqf.scoring.compression import compression_error, jpeg_trace
from mriqf.scoring.foreground import mask_reader
from mriqf.scoring.pooling import choose_pool, weighted_mean
from mriqf.scoring.resolution import Resolution, on_grid, resolved_volume, unresolved_error, volume_support
from mriqf.scoring.result import Score, SliceScore
from mriqf.scoring.scale import Scale, normalise, volume_scale
from mriqf.scoring.slices import own_scale, score_slices


@dataclass(frozen=True)
class Setting:
    """Scale and lattice that all slices of a volume share."""

    scale: Scale
    lattice: Lattice | None
    """Lattice of an earlier JPEG compression, if the pixels still show it."""
    grid: Lattice | None
    """The same, if the predictor was trained on that: cells are laid on it."""
    resolved: tuple[int, int] | None
    """Rows and columns of k-space that slices fill, at which predictors of errors see them; None for others."""


class Scorer:
    """Scores of volumes: JPEG lattice, resolution, scale, foreground, network, pooling and calibration, in this order.

    Parameters
    ----------
    weights
        Name or path of trained weights, or a loaded predictor.
    pool
        Reduction of the quality map to one number: see `choose_pool`.
    calibration
        Map from scores to errors (`mriqf calibrate`), or its file; by default that of the weights, if there is one.
    resolution
        For predictors of errors, which see slices with an empty rim of k-space at their own resolution: `own` counts
        detail that lacks for nothing, `as-is` counts the energy that the rim is expected to have as error, too.
    flips
        Average the readings of predictors of errors over all eight orientations of a slice.
    batch_size
        Slices in memory at a time, and through the predictor at once on a GPU.
    device
        Device that the network goes to; stays on its own, if not given.
    exact
        Leave the network in full precision, with its batch norms.

    Raises
    ------
    ValueError
        If there are no such weights, pool or resolution, or the calibration is of others.
    """

    def __init__(
        self,
        weights: str | Path | Predictor = "qf-mri",
        *,
        pool: str = "auto",
        calibration: Calibration | str | Path | None = "auto",
        resolution: Resolution = "own",
        flips: bool = False,
        batch_size: int = 8,
        device: str | torch.device | None = None,
        exact: bool = False,
    ):
        if resolution not in get_args(Resolution):
            raise ValueError(f"resolution is {resolution!r}: choose own or as-is")
        model = weights if isinstance(weights, Predictor) else load_predictor(weights)
        self.resolution: Resolution = resolution
        self.flips = flips
        self.pool = choose_pool(pool, model)
        self.calibration = attached(calibration, model, self.pool)
        self.batch_size = batch_size
        where = model.device if device is None else torch.device(device)
        self.predictor = model.to(where) if exact else for_inference(model, where)

    def prepare(self, volume: Volume, indices: Sequence[int] | None = None, *, search: bool = True) -> Setting:
        """Lattice, resolution and scale of a volume.

        Parameters
        ----------
        volume
            Volume to score.
        indices
            Slices in which an earlier JPEG's lattice is looked for; all if not given.
        search
            Look for an earlier JPEG's lattice.

        Raises
        ------
        ValueError
            If the volume is empty or constant, or has other channels than the predictor takes.
        """
        check_channels(volume.channels, self.predictor)
        lattice = jpeg_trace(volume, range(volume.n_slices) if indices is None else indices) if search else None
        grid = lattice if self.predictor.reads_grid else None
        resolved = volume_support(volume) if isinstance(self.predictor, ErrorModel) else None
        seen = volume if resolved is None else resolved_volume(volume, resolved)
        return Setting(own_scale(volume_scale(seen, grid), self.predictor), lattice, grid, resolved)

    def slices(
        self,
        volume: Volume,
        indices: Sequence[int] | None = None,
        *,
        setting: Setting | None = None,
        mask: Callable[[int], Bool[np.ndarray, "h w"]] | None = None,
    ) -> Iterator[SliceScore]:
        """Scores of slices, one batch at a time.

        Parameters
        ----------
        volume
            Volume to score.
        indices
            Slices to score, in this order; all if not given.
        setting
            Result of `prepare`, if it is there already.
        mask
            The user's own foreground of a slice, instead of the automatic one.

        Raises
        ------
        ValueError
            If a slice has less than 32 pixels each way, or as `prepare`.
        """
        indices = range(volume.n_slices) if indices is None else indices
        setting = self.prepare(volume, indices) if setting is None else setting
        size = volume.shape if setting.resolved is None else setting.resolved
        seen, smaller = resolved_volume(volume, size), size != volume.shape
        seen_mask = (lambda index: on_grid(mask(index), size, nearest=True)) if smaller and mask else mask

        def unresolved(index: int) -> float:
            return unresolved_error(torch.from_numpy(seen.read_slice(index))[None], volume.shape)

        def compressed(index: int, foreground: Bool[np.ndarray, "i j"]) -> float:
            inside = on_grid(foreground, volume.shape, nearest=True) if smaller else foreground
            return compression_error(volume.read_slice(index)[0], setting.lattice, inside)

        scored = score_slices(
            seen.read_slice, indices, self.predictor, pool=self.pool, scale=setting.scale,
            mask=seen_mask, lattice=setting.grid, calibration=self.calibration,
            unresolved=unresolved if smaller and self.resolution == "as-is" else None,
            compressed=compressed if setting.lattice else None, flips=self.flips,
            batch_size=self.batch_size,
        )  # fmt: skip
        return (_on_grid(one, volume, setting.scale, mask) for one in scored) if smaller else scored

    def image(self, image: Shaped[np.ndarray, "*ch h w"]) -> SliceScore:
        """Score of one image by itself: magnitude `(h, w)` in any unit, or RGB `(3, h, w)`."""
        (scored,) = self.slices(from_array(image if image.ndim == 2 else image[None], "image"))
        return scored

    def __call__(
        self,
        volume: Volume,
        indices: Sequence[int] | None = None,
        *,
        mask: Callable[[int], Bool[np.ndarray, "h w"]] | None = None,
    ) -> Score:
        """Score of a volume, from its `slices`."""
        indices = range(volume.n_slices) if indices is None else indices
        setting = self.prepare(volume, indices)
        results = tuple(self.slices(volume, indices, setting=setting, mask=mask))
        value = weighted_mean([(s.value, s.foreground_fraction) for s in results])
        return Score(
            value, results, self.pool, self.predictor.name, self.predictor.unit, setting.scale, setting.lattice,
            self.calibration, setting.resolved, notes(volume, self.predictor, setting.resolved),
        )  # fmt: skip


def _on_grid(
    scored: SliceScore, volume: Volume, scale: Scale, mask: Callable[[int], Bool[np.ndarray, "h w"]] | None
) -> SliceScore:
    """The score of a slice that was seen at its own resolution, with map, foreground and image on the volume's grid."""
    inside = on_grid(scored.foreground, volume.shape, nearest=True) if mask is None else mask(scored.index)
    return dataclasses.replace(
        scored,
        foreground_fraction=float(inside.mean()),
        map=on_grid(scored.map, volume.shape),
        foreground=inside,
        image=normalise(volume.read_slice(scored.index), scale),
    )


def score(
    images: Any,
    weights: "str | Path | Predictor | Scorer" = "qf-mri",
    *,
    pool: str = "auto",
    mask: Any = None,
    axis: Axis = "slice",
    slices: Sequence[int] | None = None,
    calibration: Calibration | str | Path | None = "auto",
    resolution: Resolution = "own",
) -> Score:
    """Quality of a reconstruction that has no reference.

    Parameters
    ----------
    images
        A path or a `Volume` (see `mriqf.read`), a nibabel image, or an array or tensor: `(h, w)` or `(s, h, w)`
        magnitude in any unit (complex values become magnitude), or `(s, 3, h, w)` RGB.
    weights
        Name or path of trained weights, a loaded predictor, or a `Scorer`, which has a pool and a calibration of its
        own: it loads and folds its network once, where each call with a name or a predictor does so again.
    pool
        Reduction of the quality map to one number: see `choose_pool`.
    mask
        Foreground of each slice (not zero), given as images are, instead of the automatic one.
    axis
        Along which the volume is cut into slices: see `mriqf.io.cut_along`.
    slices
        Slices to score; all if not given. The scale is always that of the whole volume.
    calibration
        Map from scores to errors (`mriqf calibrate`), or its file; by default that of the weights, if there is one.
    resolution
        See `Scorer`.

    Raises
    ------
    ValueError
        If the image is empty, constant, not finite, of the wrong shape, smaller than 32 pixels either way, or has
        another number of channels than the weights; if the calibration is of other weights.

    Examples
    --------
    >>> import numpy as np, mriqf
    >>> result = mriqf.score(np.random.default_rng(0).random((2, 64, 64)))
    >>> result.per_slice.shape, result.slices[0].map.shape
    ((2,), (64, 64))
    >>> result.pool, result.weights
    ('rms', 'qf-mri')
    """
    volume = cut_along(as_volume(images), axis)
    scorer = weights if isinstance(weights, Scorer) else Scorer(
        weights, pool=pool, calibration=calibration, resolution=resolution
    )  # fmt: skip
    masks = None if mask is None else cut_along(as_volume(mask, "mask"), axis)
    return scorer(volume, slices, mask=None if masks is None else mask_reader(masks, volume))


def notes(volume: Volume, model: Predictor, resolved: tuple[int, int] | None = None) -> tuple[str, ...]:
    """Reasons to doubt a volume's scores: slices smaller than the receptive field, pixels that are not square."""
    said = []
    h, w = volume.shape if resolved is None else resolved
    if min(h, w) < (least := model.receptive_field):
        said.append(f"{h}×{w} pixels, continued by reflection to the {least}×{least} that the weights see at once")
    across, down = np.linalg.norm(volume.affine[:3, :2], axis=0)
    if max(across, down) > 1.02 * min(across, down):
        said.append(f"pixels are {down:.3g}×{across:.3g} mm, those of training were square")
    return tuple(said)


def check_channels(channels: int, model: Predictor) -> None:
    """Raise ValueError, saying which weights to take, if an image's channels are not the predictor's."""
    want = model.config.channels
    if channels != want:
        kind, other = ("RGB", "qf-rgb") if channels == 3 else ("grey", "qf-mri")
        raise ValueError(f"image is {kind} ({channels} channels), the weights take {want}: use --weights {other}")
