"""Faults of the machine at calls that change files: nothing that was whole is lost, and no bit is another."""

from __future__ import annotations

import pytest

from attack.machine import ANY_MOMENT, KINDS, rows
from attack.scenarios import SCENARIOS


def test_no_fault_of_the_machine_loses_or_changes_anything() -> None:
    found = rows(3)
    if found is None:
        pytest.skip("there is no C compiler, or no LD_PRELOAD")
    kinds = (*KINDS, ANY_MOMENT)
    assert {(row["scenario"], row["kind"]) for row in found} == {(name, kind) for name in SCENARIOS for kind in kinds}
    assert not [line for row in found for line in row["wrong"]]
    assert sum(row.get("killed", 0) for row in found if row["kind"] == ANY_MOMENT) >= 12
    assert sum(row.get("killed", 0) for row in found) >= 40
    assert sum(row.get("refused", 0) for row in found) >= 20
