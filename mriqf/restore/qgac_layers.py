"""Layers of QGAC on planes of DCT coefficients: one channel per frequency, one position per block.

In this layout the paper's 8×8 convolution of stride 8 over coefficients is a product of matrices at each position.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

FREQUENCIES = 64
START = 0.1
"""Initial scale of the last layers' weights: an untrained network adds nearly nothing."""
Conditioning = Literal["manifold", "concatenate", "none"]


class BlockLayer(nn.Module):
    """Coefficients of each block to features, or with `transposed` back, by kernels that may depend on the table.

    Parameters
    ----------
    width
        Features.
    conditioning
        `manifold`: a convolutional filter manifold; three layers make of the table what is added to a learned kernel.
        `concatenate`: the table is a second channel, which a linear layer sees as a bias. `none`: the same kernel for
        every table.
    manifold
        Channels inside the manifold.
    gain
        Initial scale of the kernels.
    """

    def __init__(
        self, width: int, conditioning: Conditioning, manifold: int, *, transposed: bool = False, gain: float = 1.0
    ):
        super().__init__()
        self.conditioning = conditioning
        self.transposed = transposed
        sd = gain * (width if transposed else FREQUENCIES) ** -0.5
        self.kernel = nn.Parameter(gain * nn.init.orthogonal_(torch.empty(width, FREQUENCIES)))
        self.bias = None if transposed else nn.Parameter(torch.zeros(width))
        self.table: nn.Module | None = None
        if conditioning == "manifold":
            last = nn.ConvTranspose2d(manifold, width, 8, bias=False)
            nn.init.normal_(last.weight, std=0.3 * sd)
            self.table = nn.Sequential(
                nn.Conv2d(1, manifold, 8), nn.PReLU(), nn.Conv2d(manifold, manifold, 1), nn.PReLU(), last
            )
        elif conditioning == "concatenate":
            self.table = nn.Linear(FREQUENCIES, FREQUENCIES if transposed else width)
            nn.init.normal_(self.table.weight, std=sd)
            nn.init.zeros_(self.table.bias)

    def forward(self, x: Float[Tensor, "b n i j"], tables: Float[Tensor, "b 8 8"]) -> Float[Tensor, "b m i j"]:
        """Features of coefficients, or coefficients of features, for steps in (0, 1]."""
        kernel = self.kernel.expand(len(x), -1, -1)
        if self.table is not None and self.conditioning == "manifold":
            kernel = kernel + self.table(tables[:, None]).flatten(2)
        blocks = x.flatten(2).transpose(1, 2) @ (kernel if self.transposed else kernel.transpose(1, 2))
        x = blocks.transpose(1, 2).unflatten(2, x.shape[2:])  # channels last in memory, as the convolutions want it
        if self.table is not None and self.conditioning == "concatenate":
            x = x + self.table(tables.flatten(1))[..., None, None]
        return x if self.bias is None else x + self.bias[:, None, None]


class RRDB(nn.Module):
    """Residual of three residual dense blocks of five convolutions each, PReLU between them, nothing normalised.

    With groups, each keeps to itself: its channels lie side by side throughout.

    References
    ----------
    Wang et al., ESRGAN: enhanced super-resolution generative adversarial networks, ECCVW 2018,
    doi:10.1007/978-3-030-11021-5_5.
    """

    def __init__(self, width: int, growth: int, groups: int = 1):
        super().__init__()
        self.body = nn.Sequential(*(_Dense(width, growth, groups) for _ in range(3)))

    def forward(self, x: Float[Tensor, "b c i j"]) -> Float[Tensor, "b c i j"]:
        """Features of the same size."""
        return x + 0.2 * self.body(x)


class _Dense(nn.Module):
    def __init__(self, width: int, growth: int, groups: int):
        super().__init__()
        self.groups = groups
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width + n * growth, growth, 3, padding=1, groups=groups), nn.PReLU(growth))
            for n in range(4)
        )
        self.last = nn.Conv2d(width + 4 * growth, width, 3, padding=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for layer in self.layers:
            seen = concatenate((seen, layer(seen)), self.groups)
        return x + 0.2 * self.last(seen)


class BlockNet(nn.Module):
    """Coefficients to coefficients through features of whole blocks: RRDBs between two layers that tables make.

    At first the second layer undoes the first, times a gain, as far as there are features enough: from independent
    random kernels, training spends its first hundreds of steps on finding the frequencies again.
    """

    def __init__(
        self, width: int, growth: int, rrdbs: int, conditioning: Conditioning, manifold: int, gain: float = 1.0
    ):
        super().__init__()
        self.first = BlockLayer(width, conditioning, manifold)
        self.body = nn.Sequential(nn.PReLU(width), *(RRDB(width, growth) for _ in range(rrdbs)))
        self.last = BlockLayer(width, conditioning, manifold, transposed=True, gain=gain)
        with torch.no_grad():
            self.last.kernel.copy_(gain * self.first.kernel)

    def forward(self, x: Float[Tensor, "b 64 i j"], tables: Float[Tensor, "b 8 8"]) -> Float[Tensor, "b 64 i j"]:
        """Coefficients, for steps in (0, 1]."""
        return self.last(self.body(self.first(x, tables)), tables)


class FrequencyNet(nn.Module):
    """Coefficients to coefficients, each frequency by itself; tables are accepted and ignored."""

    def __init__(self, width: int, rrdbs: int, gain: float = 1.0):
        super().__init__()
        growth = max(width // (2 * FREQUENCIES), 1) * FREQUENCIES
        rrdb = (RRDB(width, growth, FREQUENCIES) for _ in range(rrdbs))
        self.body = nn.Sequential(_grouped(FREQUENCIES, width), nn.PReLU(width), *rrdb, _grouped(width, gain=gain))

    def forward(
        self,
        x: Float[Tensor, "b 64 i j"],
        tables: Float[Tensor, "b 8 8"],  # noqa: ARG002 (as BlockNet)
    ) -> Float[Tensor, "b 64 i j"]:
        """Coefficients."""
        return self.body(x)


class LumaNet(nn.Module):
    """Subnetworks in series; three layers fuse the results of all, each frequency by itself.

    With `residual`, each gives what is to be added to what it was given, in another unit, and not that itself.
    """

    def __init__(self, stages: list[nn.Module], *, fusion: bool, residual: bool = False):
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.residual = residual
        few = 4 * FREQUENCIES
        layers = (
            _grouped(len(stages) * FREQUENCIES, few),
            nn.PReLU(few),
            _grouped(few, few),
            nn.PReLU(few),
            _grouped(few, gain=START),
        )
        self.fusion = nn.Sequential(*layers) if fusion else None

    def forward(
        self, x: Float[Tensor, "b 64 i j"], tables: Float[Tensor, "b 8 8"], unit: Float[Tensor, "64 1 1"]
    ) -> Float[Tensor, "b 64 i j"]:
        """Residual of normalised luma coefficients, in `unit`, for steps in (0, 1]."""
        outputs = []
        for stage in self.stages:
            outputs.append(stage(x, tables))
            x = x + unit * outputs[-1] if self.residual else outputs[-1]
        if self.fusion is not None:
            return self.fusion(concatenate(outputs, FREQUENCIES))
        return torch.stack(outputs).sum(0) if self.residual else x


class ChromaNet(nn.Module):
    """Coefficients of subsampled Cb or Cr, and of restored luma, to a residual for chroma of full size."""

    def __init__(self, width: int, growth: int, rrdbs: int, conditioning: Conditioning, manifold: int):
        super().__init__()
        self.first = BlockLayer(width, conditioning, manifold)
        self.enlarge = nn.Sequential(
            nn.PReLU(width),
            *(RRDB(width, growth) for _ in range(rrdbs)),
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1),
            nn.PReLU(width),
        )
        self.guide = BlockLayer(width, conditioning, manifold)
        self.rectifier = nn.PReLU(width)
        self.body = nn.Sequential(*(RRDB(2 * width, growth) for _ in range(rrdbs)))
        self.last = BlockLayer(2 * width, conditioning, manifold, transposed=True, gain=START)

    def forward(
        self,
        chroma: Float[Tensor, "b 64 i j"],
        luma: Float[Tensor, "b 64 2*i 2*j"],
        tables: Float[Tensor, "b 2 8 8"],
    ) -> Float[Tensor, "b 64 2*i 2*j"]:
        """Residual of normalised chroma coefficients, for steps in (0, 1] of luma and chroma."""
        features = self.enlarge(self.first(chroma, tables[:, 1]))
        guide = self.rectifier(self.guide(luma, tables[:, 0]))
        return self.last(self.body(torch.cat((features, guide), 1)), tables[:, 1])


def concatenate(parts: Sequence[Float[Tensor, "b _ i j"]], groups: int) -> Float[Tensor, "b _ i j"]:
    """Channels of each group side by side, as a convolution with groups needs them."""
    last = [
        p.permute(0, 2, 3, 1).unflatten(3, (groups, -1)) for p in parts
    ]  # channels last in memory: several times faster
    return torch.cat(last, 4).flatten(3).permute(0, 3, 1, 2)


def _grouped(n_in: int, n_out: int = FREQUENCIES, gain: float = 1.0) -> nn.Conv2d:
    layer = nn.Conv2d(n_in, n_out, 3, padding=1, groups=FREQUENCIES)
    with torch.no_grad():
        layer.weight.mul_(gain)
        nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
    return layer
