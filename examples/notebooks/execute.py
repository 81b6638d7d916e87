"""Executes a notebook that is kept as text (`py:percent` of Jupytext), and writes the page that it makes.

python execute.py NAME.py      writes NAME.md and its pictures into the folder `executed`, beside the notebook

It prints what the notebook's last cell printed: its figures, as one object of JSON. The cells run in a kernel of their
own, in the notebook's folder.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import PIL.Image

EXTRA = "notebooks are executed by Jupytext, nbclient and nbconvert: pip install 'netc[notebooks]'"
SECONDS = 1200  # for one cell, where other work shares the machine
COLOURS = 128  # of a picture, which then takes a third of the bytes


def executed(path: Path) -> Any:
    """The notebook with its outputs. `nbclient.exceptions.CellExecutionError` says which cell fell over, and how."""
    import jupytext
    import nbclient

    notebook = jupytext.read(path, fmt="py:percent")
    client = nbclient.NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    return client.execute()


def figures(notebook: Any) -> str:
    """What the last cell printed."""
    return "".join(output["text"] for output in notebook.cells[-1].outputs if output.get("name") == "stdout")


def write_page(notebook: Any, path: Path) -> None:
    """The notebook as Markdown at `path`, and the pictures that it shows beside it; those of an older run go away."""
    import nbconvert

    exporter: Any = nbconvert.MarkdownExporter
    page, more = exporter().from_notebook_node(notebook, {"unique_key": path.stem})
    path.parent.mkdir(exist_ok=True)
    for old in path.parent.glob(f"{path.stem}_*.png"):
        old.unlink()
    for name, picture in more["outputs"].items():
        small = PIL.Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, dither=PIL.Image.Dither.NONE)
        small.save(path.parent / name, optimize=True)
    path.write_text(page.strip() + "\n", encoding="utf-8")


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    path = Path(sys.argv[1]).resolve()
    if not path.is_file():
        print(f"{path}: no such notebook", file=sys.stderr)
        return 2
    try:
        from nbclient.exceptions import CellExecutionError

        notebook = executed(path)
        write_page(notebook, path.parent / "executed" / f"{path.stem}.md")
    except ImportError as error:
        print(f"{EXTRA} ({error})", file=sys.stderr)
        return 2
    except CellExecutionError as error:
        print(error, file=sys.stderr)
        return 1
    print(figures(notebook), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
