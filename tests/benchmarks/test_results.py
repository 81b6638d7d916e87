"""The tables of docs/performance.md are what the benchmarks kept."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_shows_what_was_kept() -> None:
    found = importlib.util.spec_from_file_location("tables_of_results", ROOT / "benchmarks/tables.py")
    assert found is not None
    assert found.loader is not None
    tables = importlib.util.module_from_spec(found)
    found.loader.exec_module(tables)
    text = tables.PAGE.read_text(encoding="utf-8")
    made = tables.tables()
    assert set(made) >= {"peers-cpu", "fusion-cpu"}
    assert tables.with_tables(text, made) == text
    assert not re.search(r"begin[^\n]*\n<!--", text)  # an empty table
    assert all(made[name] in text for name in ("peers-cpu", "fusion-cpu"))
