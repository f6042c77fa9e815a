"""LPIPS, the perceptual distance that people's judgments were fitted to, where its package and weights are at hand."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from vqclip.errors import ModelError
from vqclip.store.torchvision import heal_torchvision

VGG_FILE = "vgg16-397923af.pth"
"""The name under which torch's hub keeps the VGG that LPIPS looks with."""


class Lpips(nn.Module):
    """The mean LPIPS distance of two batches of images. Source: Zhang et al., 2018, by their own package."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Two batches of images [B, 3, S, S] in [0, 1] -> their mean distance, 0-d."""
        return self.network(image, target, normalize=True).float().mean()


def lpips_at_hand() -> bool:
    """Whether the package is installed and its VGG lies in torch's hub folder: nothing is ever fetched for it."""
    return importlib.util.find_spec("lpips") is not None and vgg_path().is_file()


def vgg_path() -> Path:
    """Where torch's hub keeps the VGG."""
    return Path(torch.hub.get_dir()) / "checkpoints" / VGG_FILE


def load_lpips() -> Lpips:
    """LPIPS with its VGG. Raises: ModelError if the package or the VGG is not here."""
    if importlib.util.find_spec("lpips") is None:
        raise ModelError("the package lpips is not installed", hint="pip install 'vqclip[train]', or --perception clip")
    if not vgg_path().is_file():
        hint = f"put {VGG_FILE} into {vgg_path().parent}, or --perception clip"
        raise ModelError("the VGG that LPIPS looks with is not here", hint=hint)
    heal_torchvision()
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it speaks to torchvision in ways of long ago
        return Lpips(lpips.LPIPS(net="vgg", verbose=False))
