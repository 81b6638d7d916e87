"""The form of prototxts: the same message, all comments, the same when written again; and what it looks like."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from netc.compiler.caffe.reading import type_of
from netc.grammar.caffe.format import format_prototxt
from netc.grammar.caffe.lexing import tokens
from netc.grammar.caffe.message import Message
from netc.grammar.caffe.text_format import read
from netc.grammar.source import Source, SourceErrors
from support.caffe import CONFORMANCE
from support.commands import run

FILES = sorted((CONFORMANCE.parent / "data").glob("*/**/*.prototxt")) + sorted(CONFORMANCE.glob("files/*.prototxt"))
BEFORE = """\
# top

# of the name
name: "a"   # the name


layer { name: "x" type: "Input" top: "x"  # in
  input_param { shape: { dim: 1, dim: 2; } } # end

  # last

}
layer{name:'y' include:<phase:TEST> convolution_param { kernel_size: [3,  3] pad: - 1 } bottom: "a"
  "b" }  # tail
state { } # s
layer { param [ { lr_mult: 1 # one
}, <lr_mult: 2> ] }

# end
"""
AFTER = """\
# top

# of the name
name: "a"  # the name

layer {
  name: "x"
  type: "Input"
  top: "x"  # in
  input_param { shape { dim: 1 dim: 2 } }  # end

  # last
}
layer {
  name: 'y'
  include { phase: TEST }
  convolution_param { kernel_size: [3, 3] pad: -1 }
  bottom: "a" "b"
}  # tail
state { }  # s
layer {
  # one
  param: [{ lr_mult: 1 }, { lr_mult: 2 }]
}

# end
"""


def values(message: Message) -> Any:
    """What a message holds, without places."""
    return message.type, [
        (name, [values(item) if isinstance(item, Message) else item.value for item in items])
        for name, items in message.fields.items()
    ]


def comments(text: str) -> Counter[str]:
    """The words between the tokens."""
    found, at = [], 0
    for token in tokens(Source("x", text)):
        found += text[at : token.start].split()
        at = token.end
    return Counter(found)


def test_the_form() -> None:
    assert format_prototxt(Source("x", BEFORE)) == AFTER
    assert format_prototxt(Source("x", AFTER)) == AFTER
    assert comments(BEFORE) == comments(AFTER)
    assert format_prototxt(Source("x", "")) == ""
    assert format_prototxt(Source("x", "\n\n# nothing\n\n")) == "# nothing\n"
    assert format_prototxt(Source("x", "layer{}")) == "layer { }\n"


def test_a_line_that_is_too_long_is_broken() -> None:
    name = "n" * 90
    text = f'layer {{ name: "{name}" type: "X" }}'
    assert format_prototxt(Source("x", text)) == f'layer {{\n  name: "{name}"\n  type: "X"\n}}\n'


@pytest.mark.skipif(not FILES, reason="the shared folder is absent")
def test_strangers_texts_stay_what_they_are() -> None:
    formatted = 0
    for path in FILES[::5]:
        source = Source(str(path), path.read_text(encoding="utf-8", errors="surrogateescape"))
        type_ = type_of(source) or "NetParameter"
        try:
            before, _ = read(source, type_, lenient=True)
        except SourceErrors:
            continue
        text = format_prototxt(source)
        after, _ = read(Source("x", text), type_, lenient=True)
        assert values(after) == values(before), path
        assert comments(text) == comments(source.text), path
        assert format_prototxt(Source("x", text)) == text, path
        formatted += 1
    assert formatted > 5


def test_fmt_takes_prototxts(tmp_path: Path) -> None:
    path = tmp_path / "a.prototxt"
    path.write_text('name: "a" layer { name: "in" type: "Input" top: "x" }')
    assert run("fmt", "--check", path)[0] == 1
    assert run("fmt", path)[0] == 0
    assert path.read_text() == 'name: "a"\nlayer { name: "in" type: "Input" top: "x" }\n'
    assert run("fmt", "--check", path)[0] == 0
    path.write_text('name: "a" layer { name: 5 }')
    status, _, told = run("fmt", path)
    assert status == 2
    assert "a.prototxt:1:25" in told
