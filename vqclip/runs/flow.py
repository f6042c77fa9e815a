"""What moved from one frame of a clip to the next: optical flow, by OpenCV, where that is installed."""

from __future__ import annotations

import importlib.util

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vqclip.errors import UsageError

EXTRA = 'pip install "vqclip[flow]"'


def has_flow() -> bool:
    """Whether OpenCV is there; it is not loaded for that."""
    return importlib.util.find_spec("cv2") is not None


def require_flow() -> None:
    """Raises: UsageError if motion cannot be followed here."""
    if not has_flow():
        raise UsageError("--flow follows motion with OpenCV, which is not installed", hint=EXTRA)


def flow_between(here: Image.Image, there: Image.Image) -> NDArray[np.float32]:
    """Where each point of a picture is in another one of its size.

    Returns: [H, W, 2], pixels right and down. Raises: UsageError without OpenCV.
    """
    require_flow()
    try:
        import cv2
    except ImportError as error:
        raise UsageError(f"OpenCV cannot be loaded: {error}", hint=EXTRA) from error
    # The search is divided among the threads, and what it finds depends on where.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        gray = [np.asarray(picture.convert("L")) for picture in (here, there)]
        return np.asarray(search.calc(*gray, None), dtype=np.float32)
    finally:
        cv2.setNumThreads(threads)
