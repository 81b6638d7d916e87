"""Every form of the language, as a tree."""

from __future__ import annotations

from typing import TypeVar

import pytest

from netc.grammar import tree
from netc.grammar.parse import parse
from netc.grammar.source import Source, SourceErrors

S = TypeVar("S")
RESERVED = {"as", "block", "const", "else", "false", "for", "if", "import", "in", "net", "none", "op", "return", "true"}


def definition(text: str, kind: type[S]) -> S:
    """The only definition of a text."""
    (found,) = parse(Source("a.net", text)).definitions
    assert isinstance(found, kind)
    return found


def statement(text: str, kind: type[S]) -> S:
    """The only statement of a net with this body."""
    (found,) = definition(f"net n {{\n{text}\n}}", tree.NetDef).body
    assert isinstance(found, kind)
    return found


def value(text: str) -> tree.Expr:
    return definition(f"const c = {text}", tree.Const).value


def show(node: tree.Node | None) -> str:
    """An expression with all its brackets."""
    match node:
        case tree.Number() | tree.String() | tree.Name() | tree.Path() | tree.Boolean():
            return node.span.text
        case tree.List():
            return f"[{' '.join(map(show, node.items))}]"
        case tree.Unary():
            return f"(- {show(node.operand)})"
        case tree.Binary():
            return f"({node.sign} {show(node.left)} {show(node.right)})"
        case tree.Compare():
            return f"({node.relation} {show(node.left)} {show(node.right)})"
        case tree.Arg():
            return (f"{node.name.name}:" if node.name else "") + show(node.value)
        case tree.Call():
            label = f" as {show(node.label)}" if node.label else ""
            return f"{node.callee.name}({' '.join(map(show, node.args))}){label}"
        case tree.Pipe():
            return f"<{' |> '.join(map(show, (node.value, *node.calls)))}>"
    raise AssertionError(node)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", "(+ 1 (* 2 3))"),
        ("1 - 2 - 3", "(- (- 1 2) 3)"),
        ("8 / 4 * 2", "(* (/ 8 4) 2)"),
        ("-x ** 2", "(- (** x 2))"),
        ("2 ** -1", "(** 2 (- 1))"),
        ("2 ** 3 ** 2", "(** 2 (** 3 2))"),
        ("-x * y", "(* (- x) y)"),
        ("a - -b", "(- a (- b))"),
        ("--a", "(- (- a))"),
        ("1 + 2 < 3 * 4", "(< (+ 1 2) (* 3 4))"),
        ("(a < b) < c", "(< (< a b) c)"),
        ("a + b |> relu", "<(+ a b) |> relu()>"),
        ("a < b |> f", "<(< a b) |> f()>"),
        ("x |> f |> g(2) |> h(k: 3)", "<x |> f() |> g(2) |> h(k:3)>"),
        ("(x |> f) + y", "(+ <x |> f()> y)"),
        ("(x |> f) |> g", "<<x |> f()> |> g()>"),
        ("x |> conv(3) as c1 |> relu as r", "<x |> conv(3) as c1 |> relu() as r>"),
        ("conv(x, 3) as c1 |> relu", "<conv(x 3) as c1 |> relu()>"),
        ("a + conv(x) as c", "(+ a conv(x) as c)"),
        ("f(conv(x) as c, g(y |> h as i))", "f(conv(x) as c g(<y |> h() as i>))"),
        ('x |> conv(3) as "conv1/7x7_s2"', '<x |> conv(3) as "conv1/7x7_s2">'),
        ("f()", "f()"),
        ("f(x, 20, kernel: [3, 1], stride: 2,)", "f(x 20 kernel:[3 1] stride:2)"),
        ("f(every: 3, loss: 2, data: 1, as_: 0)", "f(every:3 loss:2 data:1 as_:0)"),
        ("f(round: floor, bias: none, split: train)", "f(round:floor bias:none split:train)"),
        ("[1, [2], ]", "[1 [2]]"),
        ("[]", "[]"),
        ("sum(abs(enc.weight))", "sum(abs(enc.weight))"),
        ("layer1.2.conv1.weight", "layer1.2.conv1.weight"),
        ("true == false", "(== true false)"),
        ("data + loss", "(+ data loss)"),
        ("f(\n  1\n  +\n  2 # three\n)", "f((+ 1 2))"),
        ("x\n  |> f # first\n\n  # second\n  |> g", "<x |> f() |> g()>"),
    ],
)
def test_expressions(text: str, expected: str) -> None:
    assert show(value(text)) == expected


def test_numbers() -> None:
    for text, expected in [("64", 64), ("007", 7), ("0.5", 0.5), (".5", 0.5), ("1e-3", 0.001), ("1E+2", 100.0)]:
        number = value(text)
        assert isinstance(number, tree.Number)
        assert (number.value, type(number.value), number.text) == (expected, type(expected), text)
    assert value("1") != value("1.0")


def test_strings_have_no_escapes() -> None:
    assert value('"a\\n # {"') == tree.String(Source("", "").span(), "a\\n # {")


def test_path_parts() -> None:
    path = value("enc.2.weight")
    assert isinstance(path, tree.Path)
    assert [part.name for part in path.parts] == ["enc", "2", "weight"]
    assert str(path) == "enc.2.weight"


def test_import_and_const() -> None:
    file = parse(Source("a.net", 'import "b.net"  # why\nconst width = 64\n'))
    assert [item.path.value for item in file.imports] == ["b.net"]
    assert len(file.definitions) == 2


def test_op_and_block() -> None:
    op = definition("op f(x, a = 1) = x * a", tree.OpDef)
    assert [(formal.name.name, show(formal.default) if formal.default else None) for formal in op.formals] == [
        ("x", None),
        ("a", "1"),
    ]
    assert show(op.value) == "(* x a)"
    block = definition("block f(x, c = 8,) { y = x\n return y, x }", tree.BlockDef)
    last = block.body[-1]
    assert isinstance(last, tree.Return)
    assert [show(item) for item in last.values] == ["y", "x"]


def test_net() -> None:
    assert definition("net n { }", tree.NetDef).formals == ()
    assert len(definition("net n(a = 1, b = 2) {\n}", tree.NetDef).formals) == 2


def test_input_and_param() -> None:
    given = statement("input data: f32[N, 1 + 2, 28,]", tree.Input)
    assert (given.name.name, given.type.dtype.name) == ("data", "f32")
    assert [show(dim) for dim in given.type.dims] == ["N", "(+ 1 2)", "28"]
    assert statement("input x: f32[]", tree.Input).type.dims == ()
    param = statement("param(lr: 0, decay: 0) s: f32[1, 8] = constant(1)", tree.Param)
    assert [show(arg) for arg in param.args] == ["lr:0", "decay:0"]
    assert (param.name.name, show(param.value)) == ("s", "constant(1)")
    assert statement("param t: f32[4]", tree.Param).value is None


def test_roles() -> None:
    role = statement("loss(weight: 0.3) aux = softmax_loss(a, b)", tree.Role)
    assert (role.kind, role.name.name, [show(arg) for arg in role.args]) == ("loss", "aux", ["weight:0.3"])
    for word in ("loss", "metric", "output"):
        role = statement(f"{word} {word} = x", tree.Role)
        assert (role.kind, role.name.name, role.args) == (word, word, ())


def test_bind() -> None:
    bind = statement("a, b = split(x, 2)", tree.Bind)
    assert [target.name for target in bind.targets] == ["a", "b"]
    assert [target.name for target in statement("data, train = x", tree.Bind).targets] == ["data", "train"]


def test_for() -> None:
    loop = statement("for i in 2 * 1..n / 2 { x = x }", tree.For)
    assert isinstance(loop.items, tree.Range)
    assert (show(loop.items.first), show(loop.items.last)) == ("(* 2 1)", "(/ n 2)")
    assert len(loop.body) == 1
    loop = statement("for c in [16, 32] {\n  x = x\n\n  y = x\n}", tree.For)
    assert isinstance(loop.items, tree.List)
    assert len(loop.body) == 2


def test_if() -> None:
    choice = statement(
        "if a > 2 { x = a }\n# why\n\nelse if train { } else if c { x = c }\nelse { x = d\n y = d }", tree.If
    )
    assert [show(arm.condition) for arm in choice.arms] == ["(> a 2)", "train", "c"]
    assert [len(arm.body) for arm in choice.arms] == [1, 0, 1]
    assert choice.otherwise is not None
    assert len(choice.otherwise) == 2
    assert statement("if a { }", tree.If).otherwise is None
    assert statement("if a { } else { }", tree.If).otherwise == ()


@pytest.mark.parametrize("between", [" ", "\n", "\n# why\n\n"])
def test_directives(between: str) -> None:
    bind = statement(f"@nofuse{between}@dtype(bf16){between}y = x", tree.Bind)
    assert [directive.name.name for directive in bind.directives] == ["nofuse", "dtype"]
    assert [show(arg) for arg in bind.directives[1].args] == ["bf16"]
    assert bind.span.text == "y = x"


def test_data_and_train() -> None:
    assert show(definition("data data = mnist(split: train, batch: 64)", tree.DataDef).value).startswith("mnist(")
    train = definition(
        "train lenet(classes: 20) {\n from: [a, b]\n test: heldout every 500\n test: a |> f every 2 * 3\n"
        ' snapshot: every 5000\n input: 3\n weights: "x.safetensors"\n fresh: [fc8]\n}',
        tree.TrainDef,
    )
    assert (train.net.name, [show(arg) for arg in train.args]) == ("lenet", ["classes:20"])
    assert [setting.key.name for setting in train.settings] == [
        *("from", "test", "test", "snapshot", "input", "weights", "fresh")
    ]
    tests = [setting.value for setting in train.settings[1:4]]
    found = [
        (show(item.value) if item.value else None, show(item.count)) for item in tests if isinstance(item, tree.Every)
    ]
    assert found == [("heldout", "500"), ("<a |> f()>", "(* 2 3)"), (None, "5000")]
    assert definition("train n { }", tree.TrainDef).settings == ()


def test_places() -> None:
    text = "net n {\n    c3 = p2 |> conv(64, k: 5) as c |> relu\n    y = (a + b) * -c\n}\n"
    file = parse(Source("a.net", text))
    net = file.definitions[0]
    assert isinstance(net, tree.NetDef)
    first, second = net.body
    assert isinstance(first, tree.Bind)
    assert isinstance(first.value, tree.Pipe)
    conv = first.value.calls[0]
    assert (str(conv.callee.span), conv.callee.span.text) == ("a.net:2:16", "conv")
    assert conv.span.text == "conv(64, k: 5)"
    assert [arg.span.text for arg in conv.args] == ["64", "k: 5"]
    assert first.value.span.text == "p2 |> conv(64, k: 5) as c |> relu"
    assert second.span.text == "y = (a + b) * -c"
    assert isinstance(second, tree.Bind)
    assert isinstance(second.value, tree.Binary)
    assert (second.value.left.span.text, second.value.sign_span.text) == ("(a + b)", "*")
    assert net.span.text == text.rstrip()
    assert file.span.text == text


def test_equality_leaves_places_out() -> None:
    assert value("f(x,1)") == value("f( x , 1 )")
    assert value("f(x, 1)") != value("f(x, 2)")
    assert hash(value("f(x,1)")) == hash(value("f( x , 1 )"))


def test_children_are_in_order() -> None:
    node = value("f(x, k: 1) as g")
    assert [child.span.text for child in tree.children(node)] == ["f", "x", "k: 1", "g"]
    assert tree.children(value("1")) == []


def test_windows_line_ends() -> None:
    assert parse(Source("a", "const a = 1\r\nconst b = [\r\n2]\r\n")) == parse(
        Source("a", "const a = 1\nconst b = [2]")
    )


@pytest.mark.parametrize("word", sorted(RESERVED))
def test_reserved_words_are_no_names(word: str) -> None:
    with pytest.raises(SourceErrors):
        parse(Source("a", f"net n {{\n {word} = x\n}}"))
    with pytest.raises(SourceErrors):
        parse(Source("a", f"const {word} = 1"))


@pytest.mark.parametrize("word", ["input", "param", "loss", "metric", "output"])
def test_statement_words_begin_no_bind(word: str) -> None:
    with pytest.raises(SourceErrors) as caught:
        parse(Source("a", f"net n {{\n {word} = x\n}}"))
    assert [error.code for error in caught.value.errors] == ["E112"]
