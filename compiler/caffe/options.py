"""How texts of Caffe's are read: what a user says beside the text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Reading:
    """shapes: of what data layers bring, by top. lenient: fields that Caffe does not have are passed over."""

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    lenient: bool = False
