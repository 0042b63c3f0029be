"""Reconstruction networks as they run after training: folded batch norms, half precision where that is fast."""

import copy
from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from recon.denoisers import ConvDenoiser
from recon.modl import MoDL
from recon.varnet import VarNet

Network = TypeVar("Network", bound=MoDL | VarNet)


def for_inference(model: Network) -> Network:
    """A copy for inference: batch norms folded, and bfloat16 convolutions where the hardware has them.

    MoDL's data consistency stops at a residual of 3e-4, when what is left is less than the rounding. The original is
    left as it is. Reconstructions move by less than 0.5 % of their norm (tested; `benchmarks/recon.py` prints by how
    much).

    Raises
    ------
    ValueError
        If the model is in training mode.
    """
    if model.training:
        raise ValueError("model is in training mode: call eval() first")
    quick = copy.deepcopy(model)
    if isinstance(quick, MoDL):
        quick.config = replace(quick.config, cg_tol=max(quick.config.cg_tol, 3e-4))
        if isinstance(quick.denoiser, ConvDenoiser):
            quick.denoiser.body = _folded(quick.denoiser.body)
        dtype, learned = _dtype(quick.log_lam.device), quick.denoiser
    else:
        dtype, learned = _dtype(next(quick.parameters()).device), quick.cascades
    learned.to(dtype).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return quick.requires_grad_(False)


def _folded(body: nn.Sequential) -> nn.Sequential:
    layers: list[nn.Module] = []
    for layer in body:
        if isinstance(layer, nn.BatchNorm2d) and isinstance(layers[-1], nn.Conv2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


def _dtype(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32
