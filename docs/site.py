"""Hooks of mkdocs: what the site has beside the pages of this folder.

The gallery is made from `examples/` (a page an example, with its files), decisions are listed as they are found, fences
lose the words that the tests of pages read, and `net` is given colours.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pygments.lexers
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pygments.lexer import RegexLexer, words
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # netc need not be installed where the site is built

from netc.catalogue import EXAMPLES, Example, catalogue  # noqa: E402

KEYWORDS = sorted(set(re.findall(r"/([a-z]+)\\b/", (ROOT / "grammar/net.lark").read_text(encoding="utf-8"))))
# The theme would load this from a server, to search pages that are opened from a disk.
REMOTE = re.compile(r'<script src="https://unpkg.com/iframe-worker/shim"></script>')
# lunr tells nodes of its index apart by a text of labels and numbers with nothing between them, so that label 1 with
# number 12 looks like label 1 with number 1 before a 2: the search then finds words that are not there, and falls over.
NODE, APART = "e=e+s+o.id", 'e=e+s+o.id+","'
FENCE = re.compile(r"^```(\w+) [^\n]*$", re.MULTILINE)
PICTURES = {".png", ".svg", ".jpg"}
LANGUAGES = {".net": "net", ".py": "python", ".prototxt": "text", ".md": "markdown"}


class NetLexer(RegexLexer):
    """Tokens of the `.net` language."""

    name = "net"
    aliases = ("net",)
    tokens = {  # noqa: RUF012
        "root": [
            (r"#.*$", Comment.Single),
            (r'"[^"\n]*"', String),
            (words(KEYWORDS, suffix=r"\b"), Keyword),
            (r"\|>|->|=|[-+*/<>!@]+", Operator),
            (r"\b(f64|f32|f16|bf16|i64|i32|u8|bool)\b", Keyword.Type),
            (r"\b\d[\w.]*(e[+-]?\d+)?", Number),
            (r"[A-Za-z_]\w*(?=\()", Name.Function),
            (r"[A-Za-z_]\w*(?=\s*:)", Name.Attribute),
            (r"[A-Za-z_]\w*", Name),
            (r"[(){}\[\],.:;]", Punctuation),
            (r"\s+", Text.Whitespace),
        ]
    }


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The gallery and the decisions, in the navigation; `net` among the languages that have colours."""
    pygments.lexers._lexer_cache[NetLexer.name] = NetLexer
    pygments.lexers.LEXERS["NetLexer"] = (__name__, NetLexer.name, NetLexer.aliases, ("*.net",), ())
    found = sorted(path.name for path in (ROOT / "docs/decisions").glob("*.md"))
    lists = {
        "gallery/": ["gallery/index.md", *({which.name: _page(which)} for which in catalogue().values())],
        "decisions/": [{_title(ROOT / "docs/decisions" / name): f"decisions/{name}"} for name in found],
    }
    assert config.nav is not None
    config.nav = _expanded(config.nav, lists)
    return config


def _expanded(nav: Any, lists: dict[str, list[Any]]) -> Any:
    if isinstance(nav, list):
        return [_expanded(entry, lists) for entry in nav]
    if isinstance(nav, dict):
        return {key: _expanded(value, lists) for key, value in nav.items()}
    return lists.get(nav, nav)


def _title(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def _page(which: Example) -> str:
    return f"gallery/{which.name}.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """A page for each example, and the table of all."""
    pages = {file: _page(which).removeprefix("gallery/") for which in catalogue().values() for file in which.files}
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    table = re.sub(r"\]\(([^)]+)\)", lambda m: f"]({pages.get(m[1], m[1])})", table)
    table = re.sub(r"\[([^\]]*)\]\(results\)", r"`examples/results`", table).replace("](../docs/", "](../")
    files.append(File.generated(config, "gallery/index.md", content=table))
    for which in catalogue().values():
        content, pictures = _described(which)
        files.append(File.generated(config, _page(which), content=content))
        for path in pictures:
            name = f"gallery/{path.relative_to(EXAMPLES)}"
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def _described(which: Example) -> tuple[str, list[Path]]:
    """An example's page: its README, else its title; then its files. And the pictures that it shows."""
    paths = [EXAMPLES / name for name in which.files]
    for page in (path.parent / "executed" / f"{path.stem}.md" for path in paths):
        if page.is_file():
            return _notebook(which, page)
    folders = [path for path in paths if path.is_dir()]
    inside = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    said = [path for path in inside if path.name == "README.md"]
    lines = [f"# {which.title}\n"]
    if said:
        text = said[0].read_text(encoding="utf-8")
        at = said[0].parent.relative_to(EXAMPLES)
        text = re.sub(r"\]\((?!\w+:|#|/)([^)]+\.(?:png|svg|jpg))\)", rf"]({at}/\1)", text)
        lines = [re.sub(r"(?<!!)\[([^\]]+)\]\((?!\w+:|#|/)[^)]+\)", r"`\1`", text)]
    shown = [path for path in [*paths, *inside] if path.suffix in LANGUAGES and path.name != "README.md"]
    lines += [f"\n`netc new {which.name}` copies these files.\n"]
    for path in shown:
        text = path.read_text(encoding="utf-8")
        lines.append(f"\n## {path.name}\n\n````{LANGUAGES[path.suffix]}\n{text}````\n")
    return "\n".join(lines), [path for path in inside if path.suffix in PICTURES]


def _notebook(which: Example, page: Path) -> tuple[str, list[Path]]:
    """A notebook's page as it was executed, and its pictures."""
    at = page.parent.relative_to(EXAMPLES)
    text = re.sub(r"\]\(([^)]+\.png)\)", rf"]({at}/\1)", page.read_text(encoding="utf-8"))
    end = f"\n`netc new {which.name}` copies this notebook, as text; `python execute.py {page.stem}.py` runs it.\n"
    return text + end, sorted(page.parent.glob(f"{page.stem}_*.png"))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fences keep their language alone: the words after it are for the tests of pages. The gallery is a page here."""
    return FENCE.sub(r"```\1", markdown).replace("](../examples/README.md)", "](gallery/index.md)")


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Nothing is asked of a network: `worker.js` is a part of the site."""
    return REMOTE.sub(f'<script src="{"../" * page.url.count("/")}worker.js"></script>', output)


def on_post_template(output: str, template_name: str, config: MkDocsConfig) -> str:
    """The same for the page of what is not found, which is no page of this folder."""
    return REMOTE.sub('<script src="worker.js"></script>', output)


def on_post_build(config: MkDocsConfig) -> None:
    """The search's index is built without mistaking nodes for each other."""
    (worker,) = Path(config.site_dir).glob("assets/javascripts/workers/search.*.min.js")
    text = worker.read_text(encoding="utf-8")
    if text.count(NODE) != 1:
        raise PluginError(f"{worker.name}: not the lunr that is known here: look whether it still needs {APART}")
    worker.write_text(text.replace(NODE, APART), encoding="utf-8")
