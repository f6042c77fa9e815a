"""What a weight file that is no VQGAN of ours looks like, so that the error can say it."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SIGNS: tuple[tuple[str, str], ...] = (
    (r"(^|\.)lora_(up|down|A|B|unet|te)|\.lora_|^lora_", "a LoRA"),
    (r"^model\.diffusion_model\.", "a Stable Diffusion checkpoint"),
    (r"^(control_model|controlnet_cond_embedding)\.", "a ControlNet"),
    (r"^(time_embedding|time_embed)\.", "a diffusion U-Net"),
    (r"^text_model\.(embeddings|encoder)\.|^visual\.|^vision_model\.|^token_embedding\.", "a CLIP"),
    (r"^(encoder|decoder)\.conv_blocks\.", "a LlamaGen VQGAN"),
    (r"^model\.vqmodel\.", "a Janus VQGAN"),
    (r"^decoder\.up_blocks\.\d+\.resnets\.\d+\.norm1\.conv_y\.", "a MOVQ (Kandinsky)"),
    (r"^(encoder\.down_blocks|decoder\.up_blocks)\.", "a diffusers autoencoder"),
    (r"^encoder\.(to_patch_embedding|transformer)\.|^pre_quant\.", "a ViT-VQGAN"),
    (r"^(first_stage_model\.)?quantize\.(embedding|embed)\.weight$", "a VQGAN of another family"),
    (
        r"^(first_stage_model\.)?decoder\.(mid|up)\.",
        "an autoencoder without a codebook (Stable Diffusion's VAE)",
    ),
    (r"^(conv_first|conv_body|body\.0\.rdb1)\.", "an upscaler (ESRGAN)"),
    (r"^(transformer|gpt|lm_head|model\.layers)\.|^h\.0\.", "a language model or transformer"),
    (r"^(discriminator|disc)\.|^main\.0\.weight$", "a discriminator"),
    (r"^(features\.0|layer1\.0|fc)\.", "a picture classifier"),
)


def looks_like(names: Iterable[str]) -> str:
    """What the weight names belong to, as words for a sentence; "none of the models known here" if nothing fits."""
    names = list(names)
    for pattern, kind in _SIGNS:
        sign = re.compile(pattern)
        if any(sign.search(name) for name in names):
            return kind
    return "none of the models known here"
