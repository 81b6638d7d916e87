"""Faults of the machine at calls that change files: nothing that was whole is lost, and no bit is another."""

from __future__ import annotations

import pytest

from attack.machine import KINDS, SCENARIOS, rows


def test_no_fault_of_the_machine_loses_or_changes_anything() -> None:
    found = rows(3)
    if found is None:
        pytest.skip("there is no C compiler, or no LD_PRELOAD")
    assert {(row["scenario"], row["kind"]) for row in found} == {(name, kind) for name in SCENARIOS for kind in KINDS}
    assert not [line for row in found for line in row["wrong"]]
    assert sum(row.get("killed", 0) for row in found) >= 20
    assert sum(row.get("refused", 0) for row in found) >= 20
