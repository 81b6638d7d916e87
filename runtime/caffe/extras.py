"""The libraries of the extra `netc[caffe]`, imported when a file needs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ...compiler.program import UserError

EXTRA = "pip install 'netc[caffe]'"


def needed(library: str, what: str) -> Any:
    """The module of a library; a `UserError` that names the extra where it is not installed. what: needs it."""
    try:
        return import_module(library)
    except ImportError as error:
        raise UserError(f"{what} needs {library}, which cannot be imported ({error}): {EXTRA}") from None
