"""The user's cache: what was compiled once is found there again. It only saves time, so it may be absent."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(kind: str) -> Path | None:
    """Where things of a kind are kept: in `NETC_CACHE`, or the user's cache folder; None without a home folder."""
    chosen = os.environ.get("NETC_CACHE")
    if chosen:
        return Path(chosen) / kind
    try:
        import platformdirs
    except ImportError:  # an uninstalled checkout: nothing is kept
        return None
    try:
        return Path(platformdirs.user_cache_dir("netc", appauthor=False)) / kind
    except (RuntimeError, OSError):
        return None
