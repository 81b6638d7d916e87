"""The sources that a `.net` file may name and those that the runtime opens are the same, with the same settings."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields
from typing import Any

import pytest

from netc.compiler.program import UserError
from netc.compiler.schema.sources import SOURCES, SourceSchema
from netc.runtime.data.opening import OPENERS
from netc.runtime.data.reader import Batching
from netc.runtime.data.transform import Pixels
from support.data_files import first

EMPTY = inspect.Parameter.empty


def accepted(name: str) -> dict[str, tuple[Any, Any]]:
    """What the runtime takes for a source: kind and default by the setting's name."""
    positional, named = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    parameters = list(inspect.signature(OPENERS[name]).parameters.values())[1:]  # without the place
    found = {
        parameter.name: (parameter.kind, parameter.default) for parameter in parameters if parameter.name != "pixels"
    }
    assert {kind for kind, _ in found.values()} <= {positional, named}
    groups = (Batching, Pixels) if "scale" in SOURCES[name].settings else (Batching,)
    for group in groups:
        for field in fields(group):
            found[field.name] = named, EMPTY if field.default is MISSING else field.default
    if "transforms" in SOURCES[name].settings:  # taken out before the source is opened, whichever it is
        found["transforms"] = named, ()
    return found


@pytest.mark.parametrize("schema", SOURCES.own.values(), ids=SOURCES.own)
def test_schemas_and_openers_agree(schema: SourceSchema) -> None:
    declared = {name: (parameter.kind, parameter.default) for name, parameter in schema.settings.items()}
    assert declared == accepted(schema.name)


def test_no_opener_lacks_a_schema() -> None:
    assert OPENERS.own.keys() == SOURCES.own.keys()


@pytest.mark.parametrize("schema", SOURCES.own.values(), ids=SOURCES.own)
def test_every_setting_has_a_type_and_every_source_a_description(schema: SourceSchema) -> None:
    assert all(parameter.annotation is not EMPTY for parameter in schema.settings.values())
    assert schema.doc.split("\n")[0].endswith((".", ":"))
    assert "batch" in schema.settings


@pytest.mark.parametrize("name", [name for name, schema in SOURCES.own.items() if schema.columns])
def test_the_columns_that_are_known_unopened(name: str) -> None:
    assert list(SOURCES[name].columns)[1:] == ([] if name == "noise" else ["label"])
    if name == "mnist":
        batch = first("mnist", batch=2)
        assert {column: array.shape[1:] for column, array in batch.items()} == SOURCES["mnist"].columns


def test_a_source_that_there_is_not() -> None:
    with pytest.raises(UserError, match="there is no source `minst`; there are mnist, "):
        first("minst", batch=1)
