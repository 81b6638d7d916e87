"""The table of codes: complete, and each code in its range."""

from __future__ import annotations

import re
from pathlib import Path

from netc.grammar.codes import CODES, caffe, files, limits, names, onnx, shapes, syntax, warnings

ROOT = Path(__file__).parents[2]
CODE = re.compile(r'"([EW]\d{3})"')


def raised() -> dict[str, str]:
    """Each code that stands in the source outside the table, and a file that names it."""
    found = {}
    for folder in ("grammar", "compiler", "passes", "runtime", "netc"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if ROOT / "grammar" / "codes" not in path.parents:
                for code in CODE.findall(path.read_text(encoding="utf-8")):
                    found[code] = str(path.relative_to(ROOT))
    return found


def test_every_code_raised_is_explained() -> None:
    missing = {code: path for code, path in raised().items() if code not in CODES}
    assert not missing, "add an entry to grammar/codes"


def test_every_code_explained_is_raised() -> None:
    assert sorted(set(CODES) - set(raised())) == []


def test_codes_stand_in_their_range() -> None:
    ranges = {
        "E1": syntax.SYNTAX,
        "E2": names.NAMES,
        "E3": shapes.SHAPES,
        "E4": files.FILES,
        "E5": limits.LIMITS,
        "W6": warnings.WARNINGS,
        "E7": caffe.CAFFE,
        "E8": onnx.ONNX,
    }
    for start, table in ranges.items():
        assert list(table) == sorted(table)
        assert all(code.startswith(start) for code in table)
    assert len(CODES) == sum(map(len, ranges.values()))


def test_explanations_say_something() -> None:
    for name, code in CODES.items():
        assert 0 < len(code.title) < 80, name
        assert len(code.text.split()) >= 12, name
        assert max(map(len, code.text.splitlines())) <= 120, name
        assert not code.text.startswith((" ", "\n")), name
