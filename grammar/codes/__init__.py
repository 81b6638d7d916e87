"""The codes of errors and warnings, each with a title and an explanation (`netc explain E310`).

A code is one entry of the dictionary of its range; a test checks that every code raised stands here and the other way
round. Codes are stable: a code that is no longer raised is removed, its number is not used again.
"""

from __future__ import annotations

from .caffe import CAFFE
from .entry import Code
from .files import FILES
from .limits import LIMITS
from .names import NAMES
from .onnx import ONNX
from .shapes import SHAPES
from .syntax import SYNTAX
from .warnings import WARNINGS

CODES: dict[str, Code] = {**SYNTAX, **NAMES, **SHAPES, **FILES, **LIMITS, **WARNINGS, **CAFFE, **ONNX}

__all__ = ["CODES", "Code"]
