"""The library of the extra `netc[onnx]`, imported when a model is read or written."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..grammar.source import UserError

EXTRA = "pip install 'netc[onnx]'"


def onnx(name: str = "") -> Any:
    """The package `onnx` or a module of it; UserError, with what to install, where it is not there."""
    try:
        return import_module(f"onnx.{name}" if name else "onnx")
    except ImportError as error:
        raise UserError(f"ONNX models are read and written by the package onnx ({error}): {EXTRA}") from None
