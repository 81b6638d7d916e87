"""What a saved measurement says about where it was taken."""

from __future__ import annotations

import datetime
import json
import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from netc.machine import blas, cores, processor

PACKAGES = ("netc", "numpy", "torch", "onnxruntime", "openvino")


def setting() -> dict[str, Any]:
    """The machine, the load on it when the measurement ends, the versions and the date."""
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "cores": cores(),
        "load": [round(x, 2) for x in os.getloadavg()],
        "blas": blas(),
        "versions": {name: version(name) for name in PACKAGES if find_spec(name)},
    }


def save(path: Path, results: Any) -> None:
    """Results as JSON, under the setting they were taken in."""
    path.write_text(json.dumps({**setting(), "results": results}, indent=1) + "\n")
