"""Train the restorers: a short flat loop, with truth for the pre-trained one and without for the others.

An arm is trained in one go, in minutes; a run that was cut off begins the arm it was at anew.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from mriqf import weights
from mriqf.data import content_hash, read_source
from mriqf.fit import commit
from mriqf.inference import Predictor
from mriqf.jpeg import compress
from mriqf.restore import ARCNN, SRCNN, ARCNNConfig, SRCNNConfig
from mriqf.studies.loss.arms import (
    CHANNELS,
    Kind,
    LossConfig,
    Network,
    Part,
    Restorer,
    predictor_name,
    weights_path,
)

WARM_UP = 50  # steps


def train_arms(
    folder: Path, parts: Sequence[Part], root: Path, config: LossConfig, report: Callable[[str], None] = lambda _: None
) -> None:
    """Train what is missing, and keep it in `folder`.

    Raises
    ------
    ValueError
        If an arm in the folder was trained otherwise.
    """
    for part in parts:
        pools: list[list[np.ndarray]] = []
        predictor = weights.load_predictor(predictor_name(part.kind, config))
        for network in config.networks:
            for lam in (None, *config.lams):
                path, start = weights_path(folder, part.kind, network, lam), None
                recipe = recipe_of(part, network, lam, config)
                if lam is not None:
                    start = weights_path(folder, part.kind, network, None)
                    recipe |= {"start": weights.tensors_hash(start)}
                if path.exists():
                    if weights.read(path)[1].get("recipe") != recipe:
                        raise ValueError(f"{path} was trained otherwise: remove it, or choose another folder")
                    continue
                pools = pools or read_pools(part, root)
                shares = [s.weight for s in part.manifest.split("train")]
                model = build(network, part.kind, config) if start is None else weights.load(start)
                losses = train(model, pools, shares, predictor, lam, config)
                points = np.array_split(losses, min(10, len(losses)))
                card = {
                    "network": network,
                    "config": weights.config_dict(model.config),
                    "recipe": recipe,
                    "commit": commit(),
                    "curve": [float(np.mean(point)) for point in points],
                }
                path.parent.mkdir(parents=True, exist_ok=True)
                weights.write(path, model.state_dict(), card)
                report(f"{path.stem}: loss {card['curve'][0]:.4f} → {card['curve'][-1]:.4f}")


def recipe_of(part: Part, network: Network, lam: float | None, config: LossConfig) -> dict[str, Any]:
    """All that an arm depends on, but for the weights that it starts from."""
    name = predictor_name(part.kind, config)
    return {
        "kind": part.kind,
        "network": network,
        "lam": lam,
        "manifest": part.manifest.sha256,
        "predictor": None if lam is None else content_hash(weights.find(name)),
        "config": weights.config_dict(config),
    }


def build(network: Network, kind: Kind, config: LossConfig) -> Restorer:
    """An untrained restorer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if network == "arcnn":
            return ARCNN(ARCNNConfig(CHANNELS[kind], config.width, config.residual))
        return SRCNN(SRCNNConfig(CHANNELS[kind], config.width, residual=config.residual))


def train(
    model: Restorer,
    pools: Sequence[Sequence[UInt8[np.ndarray, "..."]]],
    shares: Sequence[float],
    predictor: Predictor,
    lam: float | None,
    config: LossConfig,
) -> list[float]:
    """Train in place, and return the loss of every step: with truth if `lam` is None, without it otherwise.

    The batch of a step depends on the seed and the step alone: all weights of the score see the same images.
    """
    model.to(memory_format=torch.channels_last).train().requires_grad_(True)  # pyright: ignore[reportCallIssue]
    steps, peak = (config.pretrain_steps, config.pretrain_lr) if lam is None else (config.steps, config.lr)
    optimiser = torch.optim.Adam(model.parameters(), peak)
    losses = []
    for step in range(steps):
        rng = np.random.default_rng((config.seed, int(lam is not None), step))
        given, truth = draw_batch(pools, shares, rng, config)
        for group in optimiser.param_groups:
            group["lr"] = peak * min(1, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(given)
        loss = functional.l1_loss(output, truth) if lam is None else tuning_loss(output, given, predictor, lam)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    model.eval().requires_grad_(False)
    return losses


def tuning_loss(
    output: Float[Tensor, "b ch h w"], given: Float[Tensor, "b ch h w"], predictor: Predictor, lam: int | float
) -> Float[Tensor, ""]:
    """Mean absolute difference of output and input, and `lam` times 1 − score/100: no truth (the report's Figure 16).

    Parameters
    ----------
    output, given
        Restored and compressed images, in [0, 1]; what of the output lies outside is clipped for the predictor.
    predictor
        Frozen, in evaluation mode.
    lam
        Weight of the score.
    """
    loss = functional.l1_loss(output, given)
    if lam == 0:
        return loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        quality = predictor(output.clamp(0, 1))
    return loss + lam * (1 - quality.float().mean() / 100)


def read_pools(part: Part, root: Path) -> list[list[UInt8[np.ndarray, "..."]]]:
    """Training images of each source in grey levels, a quarter of the memory."""
    return [
        [np.round(255 * image).astype(np.uint8) for image in read_source(source, root, CHANNELS[part.kind])]
        for source in part.manifest.split("train")
    ]


def draw_batch(
    pools: Sequence[Sequence[UInt8[np.ndarray, "..."]]],
    shares: Sequence[float],
    rng: np.random.Generator,
    config: LossConfig,
) -> tuple[Float[Tensor, "b ch n n"], Float[Tensor, "b ch n n"]]:
    """Patches, flipped and turned, compressed at a random quality; and as they were."""
    share, patches = np.divide(shares, sum(shares)), []
    for _ in range(config.batch):
        pool = pools[int(rng.choice(len(pools), p=share))]
        image = pool[int(rng.integers(len(pool)))]
        y, x = (rng.integers(n - config.patch + 1) for n in image.shape[:2])
        patch = np.rot90(image[y : y + config.patch, x : x + config.patch], int(rng.integers(4)))
        patches.append(np.atleast_3d(patch[:, ::-1] if rng.random() < 0.5 else patch))
    truth = torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2).float() / 255
    given = compress(truth, rng.integers(config.worst, config.best + 1, config.batch).tolist())
    return tuple(x.contiguous(memory_format=torch.channels_last) for x in (given, truth))  # pyright: ignore[reportReturnType]
