"""What a weight file that is no VQGAN of ours looks like, so that the error can say it."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SIGNS: tuple[tuple[str, str], ...] = (
    (r"(^|\.)lora_(up|down|A|B|unet|te)|\.lora_|^lora_|\.hada_w1|\.lokr_", "a LoRA"),
    (r"^(string_to_param|emb_params|clip_[lg]$)", "a textual inversion"),
    (r"^(image_proj|ip_adapter)\.", "an IP-Adapter"),
    (r"^model\.diffusion_model\.", "a Stable Diffusion checkpoint"),
    (r"^(control_model|controlnet_cond_embedding|controlnet_blocks)\.", "a ControlNet"),
    (r"^(time_embedding|time_embed)\.|^(double_blocks|joint_blocks|transformer_blocks)\.\d+\.", "a diffusion network"),
    (r"^text_model\.(embeddings|encoder)\.|^visual\.|^vision_model\.|^token_embedding\.", "a CLIP"),
    (r"^logit_scale$|^(image_encoder|text_encoder)\.", "a CLIP"),
    (r"vqmodel\.encoder\.", "an encoder of codes without its decoder (transformers' Chameleon)"),
    (r"^encoder\.(to_patch_embedding|transformer)\.", "a ViT-VQGAN with a codebook that is not known here"),
    (r"^decoder\.blocks\.input\.w$|^blocks\.group_\d", "OpenAI's discrete VAE (DALL-E)"),
    (r"^(first_stage_model\.)?quantize\.", "a VQGAN of a family that is not known here"),
    (r"^vquantizer\.|^in_block\.1\.", "a Paella VQGAN, which is not known here"),
    (r"^(encoder\.down_blocks|decoder\.up_blocks)\.", "an autoencoder without a codebook (Stable Diffusion's VAE)"),
    (r"^(first_stage_model\.)?decoder\.(mid|up)\.", "an autoencoder without a codebook (Stable Diffusion's VAE)"),
    (r"^(conv_first|conv_body|body\.0\.rdb1)\.", "an upscaler (ESRGAN)"),
    (r"^(model\.layers|lm_head|gpt|transformer)\.|^h\.0\.", "a language model or transformer"),
    (r"^(encoder|decoder)\.block\.0\.layer\.|^shared\.weight$", "a text encoder (T5)"),
    (r"^(discriminator|disc)\.|^main\.0\.weight$", "a discriminator"),
    (r"^(features\.0|layer1\.0|fc|lin0\.model)\.", "a picture classifier"),
)


def looks_like(names: Iterable[str]) -> str:
    """What the weight names belong to, as words for a sentence; "none of the models known here" if nothing fits."""
    names = list(names)
    for pattern, kind in _SIGNS:
        sign = re.compile(pattern)
        if any(sign.search(name) for name in names):
            return kind
    return "none of the models known here"
