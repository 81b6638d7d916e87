"""The tables of the pages are what the benchmarks and the attack kept."""

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
    names = {
        "performance.md": ("peers-cpu", "fusion-cpu"),
        "reliability.md": ("attack-readers", "attack-nets", "attack-machine"),
        "README.md": ("c-peers-cpu-short", "imagenet-cpu"),
    }
    shown: dict[str, str] = {}
    for page in tables.PAGES:
        text = page.read_text(encoding="utf-8")
        assert tables.with_tables(text, made) == text
        shown[page.name] = shown.get(page.name, "") + text
    assert all(made[name] in shown[page] for page, wanted in names.items() for name in wanted)
