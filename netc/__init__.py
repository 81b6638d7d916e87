"""netc: a compiler for deep-learning models written as text.

    exe = netc.compile("lenet.net", dims={"N": 64}, outputs=["prob"])
    out = exe(image=x)["prob"]

`compile`, `train`, `test`, `profile`, `summary`, `export`, `check` and `host_layer` are what there is; each is imported
when it is first used, so that `import netc` takes no time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api.checking import Problem
    from .api.functions import check, compile, export, host_layer, profile, summary, test, train
    from .grammar.source import SourceError, SourceErrors, UserError

__version__ = "0.1.0"
__all__ = [
    "Problem",
    "SourceError",
    "SourceErrors",
    "UserError",
    "__version__",
    "check",
    "compile",
    "export",
    "host_layer",
    "profile",
    "summary",
    "test",
    "train",
]

_HOMES = {"SourceError": "grammar.source", "SourceErrors": "grammar.source", "UserError": "grammar.source"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES.get(name, 'api.functions')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
