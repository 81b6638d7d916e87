"""Flags that commands share: what their values mean, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from netc.commands.options import dimensions, pairs, print_json, settings_of
from netc.grammar.source import UserError


def test_dimensions() -> None:
    assert dimensions(64, ("T=20",)) == {"N": 64, "T": 20}
    assert dimensions(None, ()) == {}
    assert dimensions(8, ("N=8",)) == {"N": 8}


@pytest.mark.parametrize("text", ["T=0", "T=-1", "T=x", "T=", "T", "=3", "T=1.5", "T=99999999999", "1=2", "T=²"])
def test_dimensions_refused(text: str) -> None:
    with pytest.raises(UserError):
        dimensions(None, (text,))


def test_batch_and_dim_must_agree() -> None:
    with pytest.raises(UserError, match="contradict"):
        dimensions(64, ("N=32",))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20", 20),
        ("-3", -3),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1e-3", 1e-3),
        ("true", True),
        ("false", False),
        ("relu", "relu"),
        ('"relu"', "relu"),
        ("[1, 2]", (1, 2)),
        ("[]", ()),
        ("[0.5,true]", (0.5, True)),
    ],
)
def test_settings(text: str, value: object) -> None:
    found = settings_of((f"a={text}",))["a"]
    assert found == value
    assert type(found) is type(value)


def test_settings_refused() -> None:
    with pytest.raises(UserError, match="too large"):
        settings_of(("a=1e999",))
    with pytest.raises(UserError, match="twice"):
        pairs("set", ("a=1", "a=2"))


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    print_json("some/2", {"a": [1.5, math.nan], "b": (math.inf,)})
    found: Any = json.loads(capsys.readouterr().out)
    assert found == {"schema": "netc.some/2", "a": [1.5, None], "b": [None]}
