"""Argument validation: what a caller of the Python API gives, as plain values of the right kind.

Whole numbers and truth values of numpy count as Python's; anything of another kind is a UserError of a line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .compiler.kinds import refuse, table, truth, whole, word, words
from .grammar.source import TEXT, Source, UserError, path_of, printable

MAX_SEED = 2**63 - 1
MAX_DEPTH = 8  # of lists in lists


def sizes(name: str, value: Any) -> dict[str, int]:
    """Values of symbolic dimensions; how large they may be, the net says."""
    return {key: whole(f"{name}['{printable(key, 40)}']", size, 1) for key, size in table(name, value).items()}


def shapes_of(name: str, value: Any) -> dict[str, tuple[int, ...]]:
    """Shapes by name."""
    found = {}
    for key, shape in table(name, value).items():
        which = f"{name}['{printable(key, 40)}']"
        if not isinstance(shape, list | tuple):
            raise refuse(which, "a list of sizes", shape)
        found[key] = tuple(whole(which, size, 1) for size in shape)
    return found


def constants(name: str, value: Any) -> dict[str, Any]:
    """Settings: numbers, texts, truth values, None, and lists of them."""
    return {key: _constant(f"{name}['{printable(key, 40)}']", one, 0) for key, one in table(name, value).items()}


def _constant(name: str, value: Any, depth: int) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple) and depth < MAX_DEPTH:
        return tuple(_constant(name, item, depth + 1) for item in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise refuse(name, "a number, a text, True or False, or a list of them", value)


def net_of(name: str, value: Any) -> Source | Path:
    """A net: the path of its file, or its text, which is a str with a line end in it. A name with one is a `Path`."""
    if isinstance(value, str) and ("\n" in value or "\r" in value):
        return Source(TEXT, value)
    path = path_of(name, value)
    if isinstance(value, str) and "{" in value and not path.exists():
        raise UserError(f"`{name}`: there is no such file; the text of a net ends with a line end: {value:.60}")
    return path


def folder_of_data(name: str, value: Any) -> Path:
    """A folder that is there."""
    path = path_of(name, value)
    if not path.is_dir():
        raise UserError(f"{path}: there is no such folder, which `{name}` names")
    return path


def _memory(name: str, value: Any) -> int | str:
    return value if isinstance(value, str) else whole(name, value, 1, MAX_SEED)


# By the names that arguments have where a request is made; None is the absence of each.
KINDS: dict[str, Callable[[str, Any], Any]] = {
    "dims": sizes,
    "settings": constants,
    "outputs": words,
    "gradients": words,
    "net": word,
    "mode": word,
    "target": word,
    "device": word,
    "precision": word,
    "threads": lambda name, value: whole(name, value, 0, 1024),
    "seed": lambda name, value: whole(name, value, 0, MAX_SEED),
    "steps": lambda name, value: whole(name, value, 1, MAX_SEED),
    "batch": lambda name, value: whole(name, value, 1),
    "scale_growth": lambda name, value: whole(name, value, 1),
    "max_memory": _memory,
    "data": folder_of_data,
    "schedules": path_of,
    **dict.fromkeys(("tf32", "fused", "update", "frozen", "python"), truth),
}
WANTED = ("gradients", "target", "device", "precision", "scale_growth", "mode", "tf32", "fused", "frozen", "python")


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name, each of its kind; UserError for the first that is not."""
    found = dict(given)
    for name, value in given.items():
        if name in KINDS and (value is not None or name in WANTED):
            found[name] = KINDS[name]("allow_python" if name == "python" else name, value)
    return found
