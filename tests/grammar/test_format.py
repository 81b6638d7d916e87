"""The canonical form: what it looks like, that it is its own canonical form, and that it says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from netc.grammar.format import format_file
from netc.grammar.layout import WIDTH
from netc.grammar.parse import parse
from netc.grammar.source import Source, SourceErrors
from support.net_texts import net_texts


def formatted(text: str) -> str:
    return format_file(Source("a.net", text))


def check(text: str) -> str:
    """The canonical form of a text, once it is known to be stable and to say the same."""
    once = formatted(text)
    assert parse(Source("b.net", once)) == parse(Source("a.net", text))
    assert formatted(once) == once
    return once


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(net_texts())
def test_stable_and_same(text: str) -> None:
    check(text)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(net_texts())
def test_comments_are_kept(text: str) -> None:
    def comments(of: str) -> list[str]:
        lines = [line.split('"')[-1] for line in of.splitlines()]
        return [line[line.index("#") :].strip() for line in lines if "#" in line]

    assert comments(check(text)) == comments(text)


def test_nets(shared: Path) -> None:
    nets = sorted((shared / "prototypes/language/nets").glob("*.net"))
    assert len(nets) > 10
    for path in nets:
        once = check(path.read_text(encoding="utf-8"))
        assert max(len(line.split("  #")[0]) for line in once.splitlines()) <= WIDTH, path.name


def test_spaces() -> None:
    text = (
        "const  a=-1 **-2*( b+ c )\nconst b = 1 / 256\nconst c = a * 1/256 # sum\n"
        "net n(x=1,y = 2){input d:f32[N , 3,]\n@nofuse y=d|>f( 3,k : [1,2,] ) as g|>r\nfor i in 1 .. 3{y=y}}\n"
        "train  n ( x : 3 ) { test : d every 5 }"
    )
    assert check(text) == (
        "const a = -1 ** -2 * (b + c)\n"
        "const b = 1/256\n"
        "const c = a * 1 / 256  # sum\n"
        "net n(x = 1, y = 2) {\n"
        "    input d: f32[N, 3]\n"
        "    @nofuse y = d |> f(3, k: [1, 2]) as g |> r\n"
        "    for i in 1..3 { y = y }\n"
        "}\n"
        "train n(x: 3) { test: d every 5 }\n"
    )


def test_blank_lines_and_comments() -> None:
    text = (
        "\n\n# head\n\n\nconst a = 1\n\n\n\n\nconst b = [ # list\n 1, # one\n # two\n 2\n # end\n]\n"
        "net n { # opens\n\n  # inside\n  x = a\n\n  # last\n\n} # closed\n\n# end"
    )
    assert check(text) == (
        "# head\n\nconst a = 1\n\nconst b = [  # list\n    1,  # one\n    # two\n    2\n    # end\n]\n"
        "net n {  # opens\n    # inside\n    x = a\n\n    # last\n}  # closed\n\n# end\n"
    )


def test_chain_breaks_are_kept() -> None:
    text = "net n {\n  x = a |> f\n |> g |> h\n # why\n |> i\n}"
    assert check(text) == ("net n {\n    x = a |> f\n        |> g |> h\n        # why\n        |> i\n}\n")


def test_long_lines() -> None:
    steps = " ".join(f"|> convolution({number}, kernel: 3)" for number in range(6))
    arguments = ", ".join(f"argument_{number}: {number}" for number in range(12))
    terms = " + ".join(f"very_long_name_{number}" for number in range(9))
    once = check(f"net n {{\n x = a {steps}\n y = f({arguments})\n z = ({terms})\n}}")
    assert max(map(len, once.splitlines())) <= WIDTH
    assert once == (
        "net n {\n"
        "    x = a |> convolution(0, kernel: 3) |> convolution(1, kernel: 3) |> convolution(2, kernel: 3)\n"
        "        |> convolution(3, kernel: 3) |> convolution(4, kernel: 3) |> convolution(5, kernel: 3)\n"
        "    y = f(\n"
        "        argument_0: 0, argument_1: 1, argument_2: 2, argument_3: 3, argument_4: 4, argument_5: 5,\n"
        "        argument_6: 6, argument_7: 7, argument_8: 8, argument_9: 9, argument_10: 10, argument_11: 11\n"
        "    )\n"
        "    z = (\n"
        "        very_long_name_0 + very_long_name_1 + very_long_name_2 + very_long_name_3 + very_long_name_4\n"
        "            + very_long_name_5 + very_long_name_6 + very_long_name_7 + very_long_name_8\n"
        "    )\n"
        "}\n"
    )


def test_bodies() -> None:
    text = (
        "net n {\n if a { x = b } else if c {\n x = d } # why\n else { x = e }\n"
        " for i in l { }\n if t { x = y } else { x = z }\n}"
    )
    assert check(text) == (
        "net n {\n"
        "    if a {\n        x = b\n    } else if c {\n        x = d\n    }  # why\n    else {\n        x = e\n    }\n"
        "    for i in l {}\n"
        "    if t { x = y } else { x = z }\n"
        "}\n"
    )


def test_empty() -> None:
    assert check("") == ""
    assert check("\n \n") == ""
    assert check("  # only") == "# only\n"


def test_errors_are_reported() -> None:
    with pytest.raises(SourceErrors):
        formatted("net {")


def test_a_fraction_in_a_broken_call_stays_together() -> None:
    values = ", ".join(f"setting_{i}: 1/256" for i in range(8))
    assert check(f"const a = f({values})\n").count("1/256") == 8
