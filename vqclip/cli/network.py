"""Whether the network may be used: the one wish of the environment that is heard, and only here."""

from __future__ import annotations

import os

_YES = frozenset({"1", "ON", "YES", "TRUE"})


def is_offline(flag: bool | None) -> bool:
    """Whether to stay off the network: by the flag, or by HF_HUB_OFFLINE, as every user of that cache understands it.

    The environment holds no settings; this wish can change no pixel, it can only refuse a download.
    """
    return bool(flag) or os.environ.get("HF_HUB_OFFLINE", "").upper() in _YES
