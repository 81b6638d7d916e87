"""The tables of docs/performance.md and of the README are what the benchmarks kept."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_pages_show_what_was_kept() -> None:
    found = importlib.util.spec_from_file_location("tables_of_results", ROOT / "benchmarks/tables.py")
    assert found is not None
    assert found.loader is not None
    tables = importlib.util.module_from_spec(found)
    found.loader.exec_module(tables)
    made = tables.tables()
    assert set(made) >= {"peers-cpu", "fusion-cpu"}
    for page, names in zip(
        tables.PAGES, (("peers-cpu", "fusion-cpu"), ("c-peers-cpu",), ("imagenet-cpu",)), strict=True
    ):
        text = page.read_text(encoding="utf-8")
        assert tables.with_tables(text, made) == text
        assert all(made[name] in text for name in names)
