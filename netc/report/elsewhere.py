"""What PyTorch and Keras call things, as the table of docs/pytorch.md: `python -m netc.report.elsewhere`."""

from __future__ import annotations

from ..compiler.schema.foreign_layers import CALLS


def table() -> str:
    """The names in small letters, without `_` and what frameworks differ in; those that mean the same share a row."""
    rows: dict[str, list[str]] = {}
    for name, meant in CALLS.items():
        rows.setdefault(meant.hint(), []).append(name)
    lines = ["| there | here |", "|---|---|"]
    # `Conv2d` is `conv` by its name alone, and needs no row.
    for hint, names in rows.items():
        lines.append(f"| {', '.join(names)} | {hint.removeprefix('here it is ').removeprefix('called ')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
