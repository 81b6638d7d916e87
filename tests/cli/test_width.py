"""Tables and help on terminals of some width: no word is broken where lines can hold it, and no name is lost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from netc.__main__ import COMMANDS, cli
from netc.report.tables import UNLIMITED, Table, width, wrapped

EXAMPLES = Path(__file__).parents[2] / "examples"
LENET, GOOGLENET, LOGREG = (str(EXAMPLES / f"{name}.net") for name in ("lenet", "googlenet", "logreg"))
SMALL = """
net small {
    input image: f32[N, 1, 8, 8]
    input label: i32[N]
    h = image |> conv(4, 3) as first_convolution |> relu |> max_pool(2)
    loss nll = softmax_loss(h |> linear(3) as score, label)
}
data made = synthetic(shape: [1, 8, 8], classes: 3, batch: 8, scale: 1/256)
train small {
    from: made
    test: made
    solver: sgd(lr: 0.1)
    steps: 2
    display: 0
}
"""
WITH_TABLES = [
    ["devices"],
    ["data", "list"],
    ["new", "--list"],
    ["scale", LENET, "--link", "50GB/s", "--step", "5ms"],
    ["summary", LENET],
    ["summary", GOOGLENET, "--batch", "1"],
    ["show", LENET, "--stages"],
    ["explain", LENET, "--laws", "--all"],
    ["explain", LENET, "--all"],
    ["profile", LOGREG, "--batch", "8", "--seconds", "0.01", "--memory"],
    ["verify", LOGREG, "--mode", "test"],
    ["train", "small.net", "--sweep", "seed=1..2"],
]

ZOO = [f"zoo {name}" for name in ("list", "pack", "check", "fetch", "unpack")]


def shown(arguments: Sequence[str], columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small.net").write_text(SMALL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("arguments", WITH_TABLES, ids=lambda words: " ".join(words[:2]).replace(str(EXAMPLES), ""))
def test_tables_fit(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tables: list[Table] = []
    text = Table.__str__

    def kept(self: Table) -> str:
        tables.append(self)
        return text(self)

    monkeypatch.setattr(Table, "__str__", kept)
    for columns in (120, 80, 40):
        tables.clear()
        shown(arguments, columns, monkeypatch)
        assert tables
        for table in tables:
            lines = text(table).splitlines()
            assert max(map(len, lines)) <= columns
            there = {word.removesuffix(":") for line in lines for word in line.split()}
            together = re.sub(r"\s", "", "".join(lines))
            for word in (word for row in table.rows for word in row[0].split()):
                assert word.removesuffix(":") in there or (columns == 40 and word in together)
            if columns > 40:
                cells = [cell for row in (*table.rows, table.foot, table.head[1:]) for cell in row]
                for word in (word for cell in cells for word in cell.removeprefix(">").split()):
                    assert word.removesuffix(":") in there


@pytest.mark.parametrize("name", [*COMMANDS, "data list", "data convert", "data mean", "data fetch", *ZOO])
def test_help_fits_into_80_columns(name: str) -> None:
    done = CliRunner().invoke(cli, [*name.split(), "--help"])
    assert max(map(len, done.output.splitlines())) <= 80


HEAD, ROWS = ["name", ">bytes", "what it is"], [["a.b", "1.5 kB", "one two three"], ["c", "2 B", "四 五 六 七"]]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (40, ["four", "  name    bytes   what it is", " ───────────────────────────────",
              "  a.b    1.5 kB   one two three", "  c         2 B   四 五 六 七"]),
        (25, ["four", "  name   bytes  what it", "                is", " ────────────────────────",
              "  a.b   1.5 kB  one two", "                three", "  c        2 B  四 五 六", "                七"]),
        (20, ["four", "  name", "      bytes  what it", "             is", " ───────────────────",
              "  a.b", "     1.5 kB  one two", "             three",
              "  c", "        2 B  四 五", "             六 七"]),
    ],
)  # fmt: skip
def test_layouts(columns: int, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert str(Table("four", HEAD, ROWS)).splitlines() == expected


def test_a_list_where_columns_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    table = Table("", ["name", "one", "other"], [["a", "a_first_long_word", "and_another_very_long_word_too"]])
    assert str(table).splitlines() == [
        " a", "   one: a_first_long_word", "   other:", "      and_another_very_long_wo", "      rd_too",
    ]  # fmt: skip


def test_a_long_name_stands_above_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    name = "inception.branch.conv.with.a.long.name"
    rows = [[name, *(f"{i} kB" for i in range(1, 6))]]
    lines = str(Table("", ["layer", ">a", ">b", ">c", ">d", ">e"], rows)).splitlines()
    assert lines[-2:] == [f"  {name}", "     1 kB  2 kB  3 kB  4 kB  5 kB"]


def test_words_are_broken_only_where_a_line_cannot_hold_them() -> None:
    assert wrapped("a bc def", 4) == ["a bc", "def"]
    assert wrapped("abcdef g", 4) == ["abcd", "ef g"]
    assert wrapped("四五六", 5) == ["四五", "六"]
    assert wrapped("", 5) == []


def test_a_file_has_long_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert width() == UNLIMITED
