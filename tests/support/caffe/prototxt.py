"""Protobuf's text form, as much of it as the conformance cases need: messages as dictionaries of lists."""

from __future__ import annotations

import re
from typing import Any

Message = dict[str, list[Any]]

_TOKEN = re.compile(r'\s*(?:#[^\n]*\s*)*("[^"]*"|[{}]|[^\s{}:"#]+)?\s*:?')


def parse(text: str) -> Message:
    """The message that a text says."""
    tokens = [t for t in _TOKEN.findall(text) if t]
    message, end = _message(tokens, 0)
    assert end == len(tokens), f"unbalanced: {tokens[end:]}"
    return message


def _message(tokens: list[str], at: int) -> tuple[Message, int]:
    message: Message = {}
    while at < len(tokens) and tokens[at] != "}":
        key = tokens[at]
        if tokens[at + 1] == "{":
            value: Any
            value, at = _message(tokens, at + 2)
        else:
            value = _scalar(tokens[at + 1])
            at += 1
        message.setdefault(key, []).append(value)
        at += 1
    return message, at


def _scalar(token: str) -> Any:
    if token[0] == '"':
        return token[1:-1]
    if token in ("true", "false"):
        return token == "true"
    try:
        return int(token)
    except ValueError:
        try:
            return float(token)
        except ValueError:
            return token.lower()
