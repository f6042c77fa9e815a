"""A perceptual distance from the early stages of an image tower: what looks alike is near."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TowerDistance(nn.Module):
    """The mean squared distance of channel-normalised features after each stage of a frozen image tower.

    stages run one after the other; the first takes images less `mean`, over `std`, one number for each color.
    Source: LPIPS (Zhang et al., 2018), with all channels weighted alike and a CLIP tower in place of VGG.
    """

    def __init__(
        self, stages: Sequence[nn.Module], *, mean: Sequence[float] = (0.5,) * 3, std: Sequence[float] = (0.5,) * 3
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(tuple(mean)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(tuple(std)).view(1, 3, 1, 1), persistent=False)
        self.stages = nn.ModuleList(stages).eval().requires_grad_(False)

    def features(self, image: Tensor) -> list[Tensor]:
        """Image [B, 3, S, S] in [0, 1] -> one feature grid [B, C, h, w] per stage, of unit length over C."""
        seen, hidden = [], (image - self.mean) / self.std
        for stage in self.stages:
            hidden = stage(hidden)
            seen.append(F.normalize(hidden.float(), dim=1))
        return seen

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Two batches of images [B, 3, S, S] in [0, 1] -> their mean distance, 0-d."""
        with torch.no_grad():
            wanted = self.features(target)
        pairs = zip(self.features(image), wanted, strict=True)
        return torch.stack([(a - b).square().sum(1).mean() for a, b in pairs]).mean()


def resnet_stages(tower: nn.Module) -> list[nn.Module]:
    """The first three stages of open_clip's ModifiedResNet: strides 2, 4 and 8."""
    stem = [getattr(tower, f"{kind}{i}") for i in (1, 2, 3) for kind in ("conv", "bn", "act")]
    return [nn.Sequential(*stem), nn.Sequential(tower.avgpool, tower.layer1), tower.layer2]
