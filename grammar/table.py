"""The LALR parser of `net.lark`, made once and kept.

Making the tables takes a fifth of a second, reading them a hundredth, so they are kept in the user's cache folder
(`NETC_CACHE`, or the platform's). They are kept as JSON, which can only be a table: Lark's own cache is a pickle, and
reading one runs what it says. A table that is missing, broken, or of another grammar or Lark is made anew, and a
folder that cannot be written costs the fifth of a second at every start.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lark
from lark.grammar import Rule
from lark.lexer import TerminalDef

from .lexing import Newlines

GRAMMAR = Path(__file__).with_name("net.lark")
FORM = 1  # of the file written here; raise it when the options below or the file change


def load_parser(actions: object) -> lark.Lark:
    """The parser, which calls the method of `actions` that is named like the rule at each reduction."""
    text = GRAMMAR.read_text(encoding="utf-8")
    folder = _cache_folder()
    key = hashlib.sha256(f"{FORM} {lark.__version__} {text}".encode()).hexdigest()
    kept = folder / f"grammar-{key[:16]}.json" if folder else None
    if kept:
        parser = _read(kept, actions)
        if parser:
            return parser
    parser = lark.Lark(
        text,
        parser="lalr",
        lexer="contextual",
        postlex=Newlines(),
        transformer=actions,
        keep_all_tokens=True,
        maybe_placeholders=False,
    )
    if kept:
        _write(kept, parser)
    return parser


def _cache_folder() -> Path | None:
    chosen = os.environ.get("NETC_CACHE")
    if chosen:
        return Path(chosen)
    try:
        import platformdirs
    except ImportError:  # an uninstalled checkout: nothing is kept
        return None
    try:
        return platformdirs.user_cache_path("netc")
    except RuntimeError:  # no home folder
        return None


def _read(path: Path, actions: object) -> lark.Lark | None:
    """The parser kept in a file, or None where the file does not hold one."""
    if not path.is_file():  # a pipe under that name would be waited for
        return None
    try:
        digest, _, payload = path.read_text(encoding="utf-8").partition("\n")
        if hashlib.sha256(payload.encode()).hexdigest() != digest:
            return None
        kept = json.loads(payload)
        tables = kept["data"]["parser"]["parser"]
        tables["tokens"] = _int_keys(tables["tokens"])
        tables["states"] = {state: _int_keys(row) for state, row in _int_keys(tables["states"]).items()}
        load: Callable[..., lark.Lark] = lark.Lark._load_from_dict
        return load(kept["data"], _int_keys(kept["memo"]), transformer=actions, postlex=Newlines())
    except Exception:  # whatever is wrong with a kept table, a new one is made
        return None


def _int_keys(table: dict[str, Any]) -> dict[int, Any]:
    return {int(key): value for key, value in table.items()}


def _write(path: Path, parser: lark.Lark) -> None:
    """Keeps a parser's tables, whole or not at all."""
    data, memo = parser.memo_serialize([TerminalDef, Rule])
    for given in ("postlex", "transformer"):  # objects, given again when the table is read
        del data["options"][given]
    payload = json.dumps({"data": data, "memo": memo}, separators=(",", ":"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(f"{hashlib.sha256(payload.encode()).hexdigest()}\n{payload}")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError:
        return
