"""Fillers: what a call returns is what the runtime reads."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from netc.compiler.program import StateInfo
from netc.compiler.schema.fillers import FILLERS, signature
from netc.compiler.types import TensorType
from netc.runtime.state import State


@pytest.mark.parametrize("name", FILLERS)
def test_a_call_keeps_its_settings_by_name_in_the_order_of_the_signature(name: str) -> None:
    filler = FILLERS[name]()
    assert filler.name == name
    assert filler.settings == tuple((p.name, p.default) for p in signature(name).parameters.values())
    assert inspect.getdoc(FILLERS[name])


@pytest.mark.parametrize("name", FILLERS)
def test_the_runtime_fills_with_each_as_it_stands(name: str) -> None:
    state = State([StateInfo("w", TensorType((4, 2, 3, 3)), filler=FILLERS[name]())])
    state.fill(1)
    assert np.isfinite(state["w"]).all()
    assert state["w"].any() == (name != "constant")
