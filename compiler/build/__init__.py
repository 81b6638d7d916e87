"""From the syntax tree to the typed graph of a net: `load` a file, `build` a net of it.

load.py reads files and imports, static.py checks names in text that nothing runs, nets.py runs a net (body.py its
statements, expressions.py, calls.py, layers.py and blocks.py what stands in them), names.py names its layers, train.py
and columns.py read data and training. Every mistake is a SourceError; whatever follows from one is silent.
"""

from __future__ import annotations

from .experiment import Experiment
from .load import entered, load
from .nets import build

__all__ = ["Experiment", "build", "entered", "load"]
