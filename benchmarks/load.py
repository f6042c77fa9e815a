"""Loading a full-size f16-16384 and a ViT-B/32 of random weights: seconds, and the most memory held on the way compared
with what is kept, each way in a process of its own.

    python benchmarks/load.py
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch
from machine import forget_peak, held_megabytes, peak_megabytes, write_result
from safetensors.torch import save_file

from vqclip.configs import VQGANConfig
from vqclip.models.vqgan import VQGAN
from vqclip.store.openclip import build_clip, load_clip, make_tokenizer
from vqclip.store.vqgans import load_vqgan, save_vqgan

WAYS: dict[str, dict[str, Any]] = {
    "whole, float32": {},
    "for painting, float32": {"encoder": False},
    "for painting, bfloat16": {"encoder": False, "dtype": torch.bfloat16},
}
CLIP_WAYS: dict[str, dict[str, Any]] = {"CLIP, float32": {}, "CLIP, bfloat16": {"dtype": torch.bfloat16}}
VIT_B_32 = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
}
SMALL_CLIP = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 64, "heads": 1, "layers": 1},
}
CLIP = "ViT-B-32/laion2b_s34b_b79k"


def measured(way: str, path: Path, small: Path) -> dict[str, float]:
    """Loads the file in this process: seconds, MB that are kept, MB that were held on top of before, their ratio."""
    load_vqgan(small)  # what the first load of a process costs is no matter of the file
    build_clip(SMALL_CLIP)
    make_tokenizer(77)
    before = held_megabytes()
    forget_peak()
    start = time.process_time()
    model = load_vqgan(path, **WAYS[way]) if way in WAYS else load_clip(f"{CLIP}={path}", **CLIP_WAYS[way]).model
    seconds, extra = time.process_time() - start, peak_megabytes() - before
    kept = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers())) / 2**20
    return {"seconds": round(seconds, 2), "kept": round(kept), "peak": round(extra), "times": round(extra / kept, 2)}


def main() -> None:
    """Measures and writes results/load.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--way", choices=[*WAYS, *CLIP_WAYS], help=argparse.SUPPRESS)
    parser.add_argument("--files", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.way:
        print(json.dumps(measured(options.way, *options.files)))
        return
    with tempfile.TemporaryDirectory() as folder:
        names = ("last.ckpt", "own.safetensors", "small.safetensors", "clip.bin", "clip.safetensors")
        checkpoint, own, small, *clips = (Path(folder) / name for name in names)
        model = VQGAN(VQGANConfig())
        torch.save({"state_dict": model.state_dict(), "global_step": 1}, checkpoint)
        save_vqgan(model, own)
        save_vqgan(VQGAN(VQGANConfig(channels=32, multipliers=(1, 1), attention_levels=(), codes=32)), small)
        clip = build_clip(VIT_B_32).state_dict()
        torch.save(clip, clips[0])
        save_file(clip, clips[1])
        os.sync()  # a file that is still being written cannot give its memory back
        jobs = [*product((checkpoint, own), WAYS), *product(clips, CLIP_WAYS)]
        found = {f"{file.suffix[1:]}, {way}": _in_own_process(way, file, small) for file, way in jobs}
    what = "CPU seconds, MB kept, MB at most beyond what the process held before, and their ratio"
    write_result("load", {"what": what, "ways": found})


def _in_own_process(way: str, path: Path, small: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--way", way, "--files", str(path), str(small)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
