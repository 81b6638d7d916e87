"""C source text: tables, strings and numbers of a net as C reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
RANK = 8  # NETC_RANK of netc_program.h, NET_RANK of net.h


def place(name: str, kind: str, entry: Mapping[str, Any]) -> str:
    """A row of a table of values: what it is, and where it lies."""
    shape, strides, element = entry["shape"], entry["strides"], entry["element"]
    count = 1
    row_major: list[int] = []
    for size in reversed(shape):
        row_major.insert(0, count)
        count *= size
    packed = all(size == 1 or a == b for size, a, b in zip(shape, strides, row_major, strict=True))
    if len(shape) > RANK:
        raise ValueError(f"{name} has {len(shape)} axes, the launcher takes {RANK}")
    return (
        f"{{{{{string(name)}, {kind}, {string(entry['stored'])}, {len(shape)}, {sizes(shape)}, {count * element}u}}, "
        f"{entry['start']}u, {element}, {sizes(strides)}, {int(packed)}}}"
    )


def table(kind: str, name: str, rows: list[str]) -> list[str]:
    """A table; C has no empty ones, so that one without rows has a row of zeros."""
    return [f"static const {kind} {name}[] = {{", ",\n".join(f"    {row}" for row in rows or ["0"]), "};"]


def sizes(numbers: list[int]) -> str:
    """The numbers of a shape, as a part of a row."""
    return f"{{{', '.join(map(str, numbers)) or '0'}}}"


def number(x: float) -> str:
    """A float."""
    return f"{float(x)!r}f".replace("inf", "1e39").replace("nan", "0.0")


def string(text: str) -> str:
    """A string of C: JSON's, without its \\u, which C has for some characters only."""
    plain = json.dumps(text, ensure_ascii=False)[1:-1]
    octal = "".join(c if " " <= c <= "~" else "".join(f"\\{byte:03o}" for byte in c.encode()) for c in plain)
    return '"' + octal.replace("??", '?""?') + '"'


def words(text: str) -> str:
    """What a comment may hold: no end of it, and nothing but plain characters."""
    return "".join(c if " " <= c <= "~" else "?" for c in text).replace("*/", "* /").replace("/*", "/ *")


def mean_of(rule: Mapping[str, Any], means: Mapping[str, Array]) -> list[float]:
    """What is taken off the values of an input: one number, one for each channel, or one for each element, cropped."""
    if not rule["mean_file"]:
        return list(rule["mean"]) or [0.0]
    mean, crop = means[rule["mean_file"]], rule["crop"]
    if crop:
        top, left = (mean.shape[-2] - crop[0]) // 2, (mean.shape[-1] - crop[1]) // 2
        mean = mean[..., top : top + crop[0], left : left + crop[1]]
    return [float(x) for x in np.asarray(mean, np.float32).reshape(-1)]
