"""netc: a compiler for deep-learning models written as text.

    exe = netc.compile("lenet.net", dims={"N": 64}, outputs=["prob"])
    out = exe(image=x)["prob"]

`compile`, `train`, `test`, `run`, `show`, `explain`, `verify`, `profile`, `summary`, `export`, `check` and `host_layer`
are what there is (docs/python.md); each is imported when it is first used, so that `import netc` takes no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api.checking import Problem
    from .api.functions import check, compile, export, host_layer, test, train
    from .api.reports import explain, profile, run, show, summary, verify
    from .grammar.source import SourceError, SourceErrors, UserError
    from .runtime.callbacks import Callback
    from .runtime.interruption import Diverged, Interrupted

__version__ = "0.1.0"
_HOMES = {
    **dict.fromkeys(("SourceError", "SourceErrors", "UserError"), "grammar.source"),
    **dict.fromkeys(("Problem", "check", "compile", "export", "host_layer", "test", "train"), "api.functions"),
    **dict.fromkeys(("explain", "profile", "run", "show", "summary", "verify"), "api.reports"),
    **dict.fromkeys(("Diverged", "Interrupted"), "runtime.interruption"),
    "Callback": "runtime.callbacks",
}
__all__ = [
    "Callback",
    "Diverged",
    "Interrupted",
    "Problem",
    "SourceError",
    "SourceErrors",
    "UserError",
    "__version__",
    "check",
    "compile",
    "explain",
    "export",
    "host_layer",
    "profile",
    "run",
    "show",
    "summary",
    "test",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
