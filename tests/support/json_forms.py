"""JSON Schema: what commands print with --json, held to the forms that docs/schemas says."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def parsed(text: str) -> dict[str, Any]:
    """The object that a command printed; jsonschema's error where it is not of the form that it names."""
    found: dict[str, Any] = json.loads(text)
    validator(found["schema"].removeprefix("netc.")).validate(found)
    return found


@cache
def validator(schema: str) -> Draft202012Validator:
    """What holds to a form, by its name with its version: `check/1`."""
    form = json.loads((SCHEMAS / f"{schema.replace('/', '-')}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(form)
    assert form["$id"] == f"netc.{schema}"
    return Draft202012Validator(form)
