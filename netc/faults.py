"""Internal compiler errors as users see them: a short message, and a file with all that a report of one needs.

The file is text that `netc opt` reads: the graph that was worked on, under comments with the command, the versions and
the traceback.
"""

from __future__ import annotations

import platform
import shlex
import sys
import tempfile
import traceback
from pathlib import Path

from .compiler.fault import Fault

EXIT = 70  # EX_SOFTWARE of sysexits.h
SHOWN = 600  # characters of an error


def report(error: Exception) -> str:
    """The message about an error that is no mistake of the user, after all about it was saved."""
    command = shlex.join(["netc", *sys.argv[1:]])
    first = str(error).partition("\n")[0][:SHOWN]
    if isinstance(error, Fault):
        told, command = first, error.command or command
    else:
        told = f"{type(error).__name__}: {first}; this is a fault of netc, not of the net"
    repeat = "" if f"`{command}`" in told else f"; `{command}` shows it again"
    try:
        saved = f"the traceback{' and the graph before it' if _graph(error) else ''}: {_save(error, command)}"
    except OSError as failed:
        saved = f"the traceback cannot be saved: {failed.strerror or failed}"
    return f"{told}{repeat}; {saved}"


def _graph(error: Exception) -> str:
    return error.graph if isinstance(error, Fault) else ""


def _save(error: Exception, command: str) -> Path:
    """Write a file of its own, of which nobody else knows the name before."""
    from . import __version__

    trace = "".join(traceback.format_exception(error))
    numpy = getattr(sys.modules.get("numpy"), "__version__", "none")
    about = f"netc {__version__}, Python {platform.python_version()}, numpy {numpy}, {platform.platform()}"
    lines = [command, about, *trace.splitlines()]
    with tempfile.NamedTemporaryFile(
        "w", prefix="netc-fault-", suffix=".txt", encoding="utf-8", errors="backslashreplace", delete=False
    ) as file:
        file.write("".join(f"# {line}\n" for line in lines) + _graph(error))
    return Path(file.name)
