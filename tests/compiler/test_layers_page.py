"""`docs/layers.md` is what the registries say; `--update-golden` refreshes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from netc.compiler.layers import LAYERS
from netc.report.catalogue import page

PAGE = Path(__file__).parents[2] / "docs" / "layers.md"


def test_the_page_is_what_the_registries_say(golden: Callable[[Path, str], None]) -> None:
    golden(PAGE, page(packages=False))


def test_every_layer_has_an_entry_with_its_caffe_types() -> None:
    headings = [line for line in page().splitlines() if line.startswith("### ")]
    for name, layer in LAYERS.own.items():
        stands = f" · Caffe: {', '.join(layer.caffe)}" if layer.caffe else ""
        assert f"### {name}{stands}" in headings
