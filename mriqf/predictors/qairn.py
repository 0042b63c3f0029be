"""The gates of a QAIRN, which restores JPEG images, as a predictor of their quality."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mriqf.predictors.unit import JPEG_UNIT
from mriqf.restore.qairn import QAIRN, STRIDE


class QAIRNPredictor(nn.Module):
    """A QAIRN's gates as a predictor: images in [0, 1] to a quality map, 0–100, higher is better, at half the size.

    The paper's quality is the Minkowski mean of this map. Sides of the images are whole multiples of `stride`.

    Raises
    ------
    ValueError
        If the network has no attention, or gives what is added to the image: then gates may fall with quality.
    """

    higher_is_better = True
    halves: tuple[str, ...] = ()
    """Layers that inference may run in half precision."""
    reads_grid = True
    """Scoring looks for an earlier JPEG's grid: this network was trained on blocks from the first pixel on."""
    score_range = (0, 100)
    unit = JPEG_UNIT
    default_pool = "foreground"
    zero_based = False
    stride = 2
    receptive_field = STRIDE

    def __init__(self, network: QAIRN):
        super().__init__()
        if not network.config.attention:
            raise ValueError(f"{network.name} is a QAIRN without attention, which scores nothing: use one with it")
        if network.config.residual:
            raise ValueError(
                f"{network.name} is a QAIRN with residual=True, whose gates do not follow quality: use one without"
            )
        self.network = network
        self.config = network.config
        self.name = network.name

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.network.last.weight.device

    @property
    def halo(self) -> int:
        """Pixels, to each side, that a cell depends on, at most."""
        return self.network.halo

    def forward(self, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b 1 i j"]:
        """Quality map, one value for each 2×2 pixels."""
        return 100 * self.network.forward_with_maps(images)[1][1]
