"""Color changes as 4x4 matrices: composed once, then one multiplication and addition per picture.

A matrix acts on (red, green, blue, 1), each color in [0, 1]; in `a @ b`, b is applied first.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)


def brighten(amount: Tensor) -> Tensor:
    """Adds an amount to every channel. Shapes: [n] in [-1, 1] -> [n, 4, 4]."""
    matrix = torch.eye(4).repeat(len(amount), 1, 1)
    matrix[:, :3, 3] = amount[:, None]
    return matrix


def contrast(factor: Tensor) -> Tensor:
    """Spreads the values around middle gray. Shapes: factor [n] (1 = no change) -> [n, 4, 4]."""
    matrix = torch.diag_embed(torch.stack([factor, factor, factor, torch.ones_like(factor)], dim=-1))
    matrix[:, :3, 3] = (0.5 - 0.5 * factor)[:, None]
    return matrix


def saturate(factor: Tensor) -> Tensor:
    """Spreads the colors away from their own gray. Shapes: factor [n] (0 = gray, 1 = no change) -> [n, 4, 4]."""
    matrix = torch.eye(4).repeat(len(factor), 1, 1)
    gray = torch.tensor(LUMA).repeat(3, 1)
    matrix[:, :3, :3] = torch.lerp(gray, torch.eye(3), factor[:, None, None])
    return matrix


def turn_hue(angle: Tensor) -> Tensor:
    """Turns the color wheel, greys staying where they are. Shapes: angle [n] in radians -> [n, 4, 4]."""
    matrix = torch.eye(4).repeat(len(angle), 1, 1)
    third, root = 1 / 3, 3**-0.5
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    cross = torch.tensor([[0.0, -root, root], [root, 0.0, -root], [-root, root, 0.0]])
    matrix[:, :3, :3] = cos * torch.eye(3) + sin * cross + (1 - cos) * third
    return matrix


def jitter(strength: float, draws: Tensor) -> Tensor:
    """A small random change of brightness, contrast, saturation and hue, as one matrix.

    Shapes: strength in [0, 1] (0 = none); draws [n, 4] in [-1, 1] -> [n, 4, 4]. Brightness moves by half of strength,
    contrast and saturation are multiplied by 1 +- strength, hue turns by up to strength * 90 degrees.
    """
    light, spread, color, hue = (draws * strength).unbind(-1)
    return brighten(light / 2) @ contrast(1 + spread) @ saturate(1 + color) @ turn_hue(hue * (torch.pi / 2))


def apply_color(image: Tensor, matrices: Tensor, added: Tensor | None = None) -> Tensor:
    """Changes the colors of each picture by its own matrix, and adds something in the same pass. Nothing is clamped.

    Shapes: image [n, 3, H, W], matrices [n, 4, 4], added like image or None -> [n, 3, H, W].
    """
    matrices = matrices.to(image, non_blocking=True)
    shift = matrices[:, :3, 3:] if added is None else added.flatten(2) + matrices[:, :3, 3:]
    return torch.baddbmm(shift, matrices[:, :3, :3], image.flatten(2)).unflatten(2, image.shape[2:])
