"""The patch discriminator: tells rendered patches from decoded ones, so that the decoder learns sharp edges."""

from torch import Tensor, nn

from vqclip.ops.pixels import to_signed


class PatchDiscriminator(nn.Module):
    """A small fully convolutional critic with group norm, which needs no statistics over a batch.

    Shapes: image [B, 3, H, W] in [0, 1] -> logits [B, 1, H / 4, W / 4], high where the patch looks real.
    Source: PatchGAN (Isola et al., 2017), as VQGAN uses it; group norm in place of batch norm.
    """

    def __init__(self, channels: int = 32, layers: int = 2) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Conv2d(3, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
        width = channels
        for _ in range(layers - 1):
            parts += [nn.Conv2d(width, 2 * width, 4, 2, 1), nn.GroupNorm(8, 2 * width), nn.LeakyReLU(0.2)]
            width *= 2
        parts += [nn.Conv2d(width, 2 * width, 3, 1, 1), nn.GroupNorm(8, 2 * width), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*parts, nn.Conv2d(2 * width, 1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Image [B, 3, H, W] in [0, 1] -> logits [B, 1, H / 4, W / 4]."""
        return self.layers(to_signed(image))
