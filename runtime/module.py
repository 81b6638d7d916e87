"""A program's text as a Python module: run once a program, compiled once for all that have the same text."""

from __future__ import annotations

import hashlib
import linecache
from functools import lru_cache
from types import CodeType
from typing import Any

from ..compiler.program import Program


def load_module(program: Program) -> dict[str, Any]:
    """The names that a program's text defines. Tracebacks show its lines."""
    digest = hashlib.sha256(program.source.encode()).hexdigest()[:12]
    name = f"<netc {program.name} {program.mode} {digest}>"
    linecache.cache[name] = (len(program.source), None, program.source.splitlines(keepends=True), name)
    names: dict[str, Any] = {"__name__": f"netc_program_{digest}"}
    exec(_code(program.source, name), names)
    return names


@lru_cache(maxsize=16)
def _code(source: str, name: str) -> CodeType:
    """A module's text, compiled once for all clones of an executable."""
    return compile(source, name, "exec")
