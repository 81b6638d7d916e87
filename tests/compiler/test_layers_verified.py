"""Every layer through `netc verify`: its values and gradients on the numpy target lie within their budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netc.verification import Wanted, verify
from support.layer_samples import CALLS, Call

CASES = [
    pytest.param(name, call, id=f"{name}-{i}", marks=[pytest.mark.slow] if i else [])
    for name, calls in CALLS.items()
    if name not in ("host", "filter")  # of what Python computes no budget is known
    for i, call in enumerate(calls)
]


def written(value: Any) -> str:
    """A setting as the language has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"[{', '.join(map(written, value))}]" if isinstance(value, tuple) else str(value)


def net_of(name: str, call: Call) -> str:
    """A net of one layer, with the mean square of each result as its loss."""
    types = {**{f"x{i}": type_ for i, type_ in enumerate(call.operands)}, **call.named}
    inputs = [f"    input {name}: {type_}" for name, type_ in types.items()]
    settings = [
        f"{key.rstrip('_')}: {'none' if key == 'bias' and value is False else written(value)}"
        for key, value in call.settings.items()
    ]
    results = [f"y{i}" for i in range(len(call.build(name)[1]))]
    named = [f"{name}: {name}" for name in call.named]
    arguments = ", ".join([*(f"x{i}" for i in range(len(call.operands))), *named, *settings])
    losses = [f"    loss l{i} = mean(cast({y}, f32) * cast({y}, f32))" for i, y in enumerate(results)]
    return "\n".join(["net n {", *inputs, f"    {', '.join(results)} = {name}({arguments})", *losses, "}", ""])


@pytest.mark.parametrize(("name", "call"), CASES)
def test_layers_are_within_their_budgets(name: str, call: Call, tmp_path: Path) -> None:
    file = tmp_path / "layer.net"
    file.write_text(net_of(name, call), encoding="utf-8")
    verdict = verify(file, Wanted(modes=("train",), seed=1))
    assert verdict.ok, str(verdict.suspect)
    for program in verdict.programs:
        assert not program.moved
        assert max(one.worst for one in program.kernels) < 0.5
