"""Mutation of texts with a structure of tokens: JSON, lists, graphs, tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|[A-Za-z_%][\w.]*|\d+\.?\d*(?:e[-+]?\d+)?|\s+|.', re.DOTALL)
NUMBERS = ("0", "1", "-1", "2", "1.5", "-0.0", "1e999", "NaN", "9" * 30, "2147483648", "9223372036854775808", "1e-300")
ODD = (
    "",
    "\0",
    "\x1b[31m",
    "\r",
    "\n",
    "\u202e",
    "\ud800",
    "é",
    "\N{NO-BREAK SPACE}",
    "/",
    "..",
    "../x",
    "%s",
    "a" * 300,
)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 255, 2**31, 2**63, 2**64, -(2**63), 10**30, 0.5, 1e300, "", "x", "../x", "/etc/x",
    "\0", "\x1b[2J", "é" * 40, [], {}, [[]], [1, 2], {"a": 1}, [0] * 40,
)  # fmt: skip


def changed(random: Random, samples: Sequence[bytes]) -> bytes:
    """A valid text with one to five of its tokens replaced, left out, moved or repeated."""
    text = random.choice(samples).decode("utf-8", errors="replace")
    tokens = TOKEN.findall(text)
    for _ in range(random.choice((1, 1, 2, 3, 5))):
        if not tokens:
            break
        at = random.randrange(len(tokens))
        how = random.randrange(9)
        if how < 2:
            tokens[at] = random.choice(NUMBERS) if tokens[at][:1].isdigit() or how else random.choice(ODD)
        elif how < 4:
            tokens[at] = random.choice(tokens)
        elif how == 4:
            del tokens[at : at + random.choice((1, 1, 3))]
        elif how == 5:
            tokens.insert(at, random.choice((*ODD, *NUMBERS, *"{}[]():,=\"'")))
        elif how == 6:
            tokens[at:at] = tokens[at : at + random.randrange(1, 12)] * random.choice((1, 1, 20))
        elif how == 7:
            del tokens[at:]
        else:
            tokens[at] = deep(random)
    return encoded(random, "".join(tokens))


def encoded(random: Random, text: str) -> bytes:
    """A text as UTF-8, or with half of a pair of surrogates, which is no UTF-8."""
    return text.encode("utf-8", errors="surrogatepass" if random.random() < 0.5 else "replace")


def deep(random: Random) -> str:
    """Brackets in brackets."""
    count = random.choice((5, 50, 3000))
    opening, closing = random.choice(("[]", "()", "{}"))
    return opening * count + closing * random.choice((count, count, 0))


def json_changed(finish: Callable[[Random, bytes], bytes] | None = None) -> Callable[[Random, Sequence[bytes]], bytes]:
    """A generator for JSON files: values replaced, dropped or added anywhere in the tree, now and then the text itself.

    finish: makes the file of the JSON's text, where there is more in it.
    """

    def make(random: Random, samples: Sequence[bytes]) -> bytes:
        if random.random() < 0.25:
            found = changed(random, samples)
        else:
            tree = json.loads(random.choice(samples))
            for _ in range(random.choice((1, 1, 2, 4))):
                tree = json_edited(random, tree)
            found = json.dumps(tree, indent=random.choice((None, 1))).encode("utf-8", errors="replace")
        return finish(random, found) if finish is not None else found

    return make


def json_edited(random: Random, tree: Any) -> Any:
    """A tree of JSON with one change, at the top or anywhere below."""
    if isinstance(tree, dict) and tree and random.random() < 0.9:
        key = random.choice(list(tree))
        how = random.random()
        if how < 0.1:
            return {name: value for name, value in tree.items() if name != key}
        if how < 0.2:
            return {**tree, random.choice(("x", "", "\0", "../x", *map(str, tree))): random.choice(VALUES)}
        return {**tree, key: json_edited(random, tree[key])}
    if isinstance(tree, list) and tree and random.random() < 0.8:
        at = random.randrange(len(tree))
        how = random.random()
        if how < 0.1:
            return tree[:at] + tree[at + 1 :]
        if how < 0.2:
            return tree + [tree[at]] * random.choice((1, 30))
        return [*tree[:at], json_edited(random, tree[at]), *tree[at + 1 :]]
    return random.choice(VALUES)
