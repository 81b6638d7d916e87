"""The memory that this process may take: the machine's, or less where a container or the shell limits it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def available() -> int:
    """Bytes of memory that this process may use, what it uses already included."""
    return min(_limits(), default=1 << 62)


def _limits() -> Iterator[int]:
    with suppress(AttributeError, OSError, ValueError):  # no sysconf (Windows)
        yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _cgroup_files():
        try:
            yield int(path.read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            yield soft


def _cgroup_files() -> Iterator[Path]:
    """The files with the limits of this process's control groups and of all around them, of both versions."""
    yield CGROUPS / "memory/memory.limit_in_bytes"
    try:
        lines = OWN.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers in ("", "memory"):
            base, name = (CGROUPS / "memory", "memory.limit_in_bytes") if controllers else (CGROUPS, "memory.max")
            inner = Path(place.lstrip("/"))
            yield from (base / folder / name for folder in (inner, *inner.parents))
    yield CGROUPS / "memory.max"
