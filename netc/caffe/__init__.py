"""Caffe's own interface to its nets, on netc: `import netc.caffe as caffe`, or `python -m netc.caffe script.py`.

Names are those of pycaffe; docs/pycaffe.md says what answers and what differs. What is heavy, or needs a library of an
extra, is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .process import TEST, TRAIN

if TYPE_CHECKING:  # what typed scripts make classes of
    from .layer import Layer as Layer
    from .net import Net as Net

__version__ = "1.0.0"  # the version of Caffe whose interface this is

# Where each name lies.
_NAMES = {
    "Net": "net",
    **dict.fromkeys(("Layer", "NetLayer"), "layer"),
    **dict.fromkeys(("Blob", "BlobVec"), "blob"),
    **dict.fromkeys(("Solver", "get_solver", "SGDSolver", "NesterovSolver", "AdaGradSolver"), "solver"),
    **dict.fromkeys(("RMSPropSolver", "AdaDeltaSolver", "AdamSolver"), "solver"),
    **dict.fromkeys(("set_mode_cpu", "set_mode_gpu", "set_device", "set_random_seed", "set_multiprocess"), "process"),
    **dict.fromkeys(("solver_count", "set_solver_count", "solver_rank", "set_solver_rank", "has_nccl"), "process"),
    **dict.fromkeys(("init_log", "log", "Timer", "set_target"), "process"),
    "layer_type_list": "table",
    **dict.fromkeys(("NetSpec", "layers", "params", "to_proto"), "net_spec"),
    "Classifier": "classifier",
    "Detector": "detector",
}
_MODULES = ("proto", "io", "draw", "coord_map", "net_spec")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name in _NAMES:
        return getattr(import_module(f".{_NAMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_NAMES, *_MODULES])


__all__ = ["TEST", "TRAIN", "__version__", *_NAMES, *_MODULES]
