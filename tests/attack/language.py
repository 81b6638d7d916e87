"""Hostile `.net` texts: derivations of the grammar itself, valid files changed, and structures that grow.

The grammar is read by Lark, so a form that is added to it is attacked without a word here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from random import Random

import lark

from netc.compiler.layers import LAYERS
from netc.grammar.table import GRAMMAR

TOKEN = re.compile(r'"[^"\n]*"|[A-Za-z_]\w*|\d+\.?\d*(?:e-?\d+)?|\*\*|\|>|\.\.|[<>=!]=|\s+|#[^\n]*|.')
WORDS = (
    "x", "image", "label", "a", "h", "v1", "none", "train", "test", "floor", "N", "K", "T", "share", "lr", "decay",
    "weight", "bias", "axis", "kernel", "out", "group", "stride", "pad", "at", "dilation", "global", "round",
    "ignore", "normalization", "shape", "constant", "gaussian", "xavier", "msra", "uniform", "sgd", "adam", "inv",
    "step", "f32", "i32", "f16", "bf16", "f64", "bool", "u8", "from", "solver", "schedule", "steps", "data", "every",
    "clip", "accumulate", "seed",
)  # fmt: skip
NUMBERS = (
    "0", "1", "2", "3", "7", "0.5", "1.5", "1e30", "1e39", "1e-46", "1e308", "1e999", "1000000", "2147483647",
    "2147483648", "9223372036854775807", "[1,2]", "-1", "0.0", '"t"', "true", "none", "99999999999999999999", "1/3",
    "[]", "[[1]]", "65536", "10001",
)  # fmt: skip
SIGNS = (
    "+", "-", "*", "/", "**", "|>", ":", "=", ",", "(", ")", "[", "]", "{", "}", "<", "==", "..", ".", "@", "as",
)  # fmt: skip
ODD = (
    "\0",
    "\t",
    "\r",
    "é",
    "\N{NO-BREAK SPACE}",
    "\a",
    "\u202e",
    "$",
    "'",
    ";",
    "&&",
    "->",
    "\\",
    "`",
    "\ufeff",
    "ｆ",
)
REGEX = {
    "NAME": ("x", "image", "relu", "conv", "N", "f32"),
    "INDEX": ("0", "2"),
    "NUMBER": ("0", "1", "2", "0.5", "1e39"),
    "STRING": ('"a"', '"x.net"', '""', '"../case.net"'),
    "RELATION": ("<", ">=", "=="),
    "BOOLEAN": ("true", "false"),
    "_NL": ("\n", "\n", "\n    # note\n"),
}


@cache
def _functions() -> tuple[str, ...]:
    return (*LAYERS, "tower", "huber")


def changed(random: Random, samples: Sequence[bytes]) -> bytes:
    """A hostile text of one of six kinds, mostly a valid one with words changed."""
    how = random.random()
    if how < 0.6:
        return words_changed(random, random.choice(samples).decode()).encode("utf-8", errors="replace")
    if how < 0.75:
        return derived(random, "start", 16).encode()
    if how < 0.85:
        return spliced(random, random.choice(samples).decode()).encode()
    if how < 0.93:
        return characters_changed(random, random.choice(samples).decode()).encode("utf-8", errors="surrogatepass")
    if how < 0.99:
        data = random.choice(samples)
        at = random.randrange(len(data))
        return data[:at] + random.randbytes(random.choice((1, 2, 3))) + data[at + random.choice((0, 1)) :]
    return grown(random).encode()


def words_changed(random: Random, text: str, most: int = 4) -> str:
    """Up to four words replaced by their like, left out, or taken from elsewhere in the text."""
    tokens = TOKEN.findall(text)
    words = [i for i, token in enumerate(tokens) if not token.isspace() and not token.startswith("#")]
    for _ in range(random.randint(1, most)):
        at = random.choice(words)
        how = random.randrange(10)
        if how < 7:
            tokens[at] = random.choice(_like(random, tokens[at]))
        elif how == 7:
            tokens[at] = ""
        else:
            tokens[at] = tokens[random.choice(words)]
    return "".join(tokens)


def _like(random: Random, token: str) -> Sequence[str]:
    """What may stand where a word stands: mostly something that leaves the text a `.net` file."""
    if token[:1].isdigit() or token[:1] == '"':
        return NUMBERS
    if token[:1].isalpha() or token[:1] == "_":
        return _functions() if random.random() < 0.5 else WORDS
    return SIGNS


def numbers_changed(random: Random, samples: Sequence[bytes]) -> bytes:
    """A valid text with one or two of its numbers or layers replaced: often a net that `check` calls right."""
    tokens = TOKEN.findall(random.choice(samples).decode())
    numbers = [i for i, token in enumerate(tokens) if token[:1].isdigit()]
    layers = [i for i, token in enumerate(tokens) if token in LAYERS]
    for _ in range(random.choice((1, 1, 2))):
        if random.random() < 0.7 or not layers:
            tokens[random.choice(numbers)] = random.choice(NUMBERS)
        else:
            tokens[random.choice(layers)] = random.choice(list(LAYERS))
    return "".join(tokens).encode()


def characters_changed(random: Random, text: str) -> str:
    """Characters put in, taken out, or doubled."""
    for _ in range(random.randint(1, 4)):
        at, end = random.randrange(len(text) + 1), random.choice((0, 0, 1, 2, 5))
        text = text[:at] + random.choice((*ODD, *SIGNS, "\n", "", '"', "#", text[at : at + 9] * 2)) + text[at + end :]
    return text


def spliced(random: Random, text: str) -> str:
    """A valid text with a line taken over by a derivation of the grammar."""
    lines = text.split("\n")
    at = random.randrange(len(lines))
    lines[at] = "    " + derived(random, random.choice(("bind", "role", "for_", "if_", "param", "expr", "train")), 25)
    return "\n".join(lines)


def grown(random: Random) -> str:
    """Something that is small to write and large to read: depth, length, turns, blocks in blocks, many mistakes."""
    count = random.choice((10, 10, 300, 3000))
    bodies = (
        "y = " + "(" * count + "x" + ")" * count,
        "y = " + "-" * count + "x",
        "y = x" + " + x" * count,
        "y = x" + " |> relu" * count,
        "y = [" + "1, " * count + "]",
        "y = " + "[" * count + "]" * count,
        "y = relu(" * count + "x" + ")" * count,
        f"for i in 1..{count * 40} {{ x = x |> relx }}",
        f"for i in 1..{count} {{ for j in 1..{count} {{ x = x + i * j }} }}",
        "\n    ".join(f"v{i} = unknown{i}(x)" for i in range(count)),
        "\n    ".join(f"x = x |> conv(2, 1) as c{i}" for i in range(min(count, 300))),
        "if true { " * count + "y = x" + " }" * count,
        f"y = x |> tile({count * 99999}) |> tile({count * 99999})",
        f"y = reshape(x, [{', '.join(['1'] * count)}])",
        "y = x " + "as " * count,
        f'y = host("{"a" * count}", x)',
        "y = 2 ** 2 ** " + "2 ** " * min(count, 60) + "9",
        f"y = {'9' * count}",
        f'y = x |> relu as "{"n" * count}"',
    )
    blocks = "".join(f"block b{i}(x) {{ return b{i + 1}(b{i + 1}(x)) }}\n" for i in range(20))
    head = random.choice(("", "", blocks + "block b20(x) { return relu(x) }\n"))
    call = "    z = b0(x)\n" if head else ""
    body = random.choice(bodies)
    return f"{head}net n {{\n    input x: f32[N, 2, 2, 2]\n{call}    {body}\n    loss l = mean(x)\n}}\n"


@cache
def _rules() -> tuple[dict[str, list[tuple[list[tuple[str, bool]], int]]], dict[str, tuple[str, ...]]]:
    """The expansions of each rule, (symbol, is a terminal), with the least depth of each; texts of terminals."""
    parser = lark.Lark(GRAMMAR.read_text(encoding="utf-8"), parser="lalr", lexer="contextual", keep_all_tokens=True)
    texts: dict[str, tuple[str, ...]] = {}
    for terminal in parser.terminals:
        found = terminal.pattern.value.removesuffix(r"\b")
        texts[terminal.name] = REGEX.get(terminal.name, (found,))
    expansions: dict[str, list[list[tuple[str, bool]]]] = {}
    for rule in parser.rules:
        expansions.setdefault(rule.origin.name, []).append([(s.name, s.is_term) for s in rule.expansion])
    least = dict.fromkeys(expansions, 1000)
    for _ in expansions:
        for name, ways in expansions.items():
            least[name] = min(least[name], min(_depth(way, least) for way in ways))
    return {name: [(way, _depth(way, least)) for way in ways] for name, ways in expansions.items()}, texts


def _depth(way: list[tuple[str, bool]], least: dict[str, int]) -> int:
    return 1 + max((least[name] for name, terminal in way if not terminal), default=0)


def derived(random: Random, start: str, depth: int) -> str:
    """A text that the grammar derives from a rule, no deeper than it must be below `depth`."""
    rules, texts = _rules()
    out: list[str] = []
    left: list[tuple[str, bool, int]] = [(start, False, depth)]
    while left and len(out) < 400:
        name, terminal, room = left.pop()
        if terminal:
            out.append(random.choice(texts[name]))
            if name == "NAME" and random.random() < 0.4:
                out[-1] = random.choice((*WORDS, *_functions()))
            continue
        ways = rules[name]
        fits = [way for way, needed in ways if needed <= room] or [min(ways, key=lambda way: way[1])[0]]
        left += [(symbol, term, room - 1) for symbol, term in reversed(random.choice(fits))]
    return " ".join(out)
