"""The gallery: runs the examples as a person would, keeps their figures, and writes the table of README.md from them.

python examples/gallery.py [--full] [NAME ...]      or: make gallery ARGS="--full lenet"
python examples/gallery.py --table                  writes the table again, and runs nothing

A figure is never typed: it is read from what a command printed, and kept in `results/NAME-FORM.json` with the commands,
the seconds, the day and the machine. Data sets are looked for in the folder that `NETC_DATA` names; an example whose
data is not there is skipped, with the reason.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import netc
from netc.catalogue import FORMS, Example, Form, catalogue, copy_files
from netc.machine import cores, processor
from netc.runtime.atomic import write_text

HERE = Path(__file__).parent
RESULTS = HERE / "results"
README = HERE / "README.md"
BEGIN, END = "<!-- made by `make gallery`: begin -->\n", "<!-- made by `make gallery`: end -->\n"


def run(which: Example, form: str) -> dict[str, Any]:
    """Run an example in a folder of its own; its result. `subprocess.CalledProcessError` if a command fails."""
    chosen = which.forms[form]
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="netc-gallery-") as folder:
        copy_files(which, Path(folder))
        # What needs no data sets sees none: with all of MNIST there, "the digits that come with netc" would be others.
        environment = _environment(_data() if chosen.needs else Path(folder))
        for command in chosen.commands:
            print(f"  {command}", flush=True)
            subprocess.run(_words(command), cwd=folder, check=True, env=environment, stdin=subprocess.DEVNULL)
        told = subprocess.run(_words(chosen.figures), cwd=folder, check=True, env=environment, stdout=subprocess.PIPE)
        figures = json.loads(told.stdout)
        first = HERE / which.files[0]
        keep(Path(folder), first if first.is_dir() else first.parent, chosen.keeps)
    return {
        "example": which.name,
        "form": form,
        "data": chosen.data,
        "commands": [*chosen.commands, chosen.figures],
        "figures": {words: number(figures, place) for words, place in chosen.shows.items()},
        "seconds": round(time.monotonic() - begin, 1),
        "day": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{processor()}, {cores()} core{'s' * (cores() != 1)}",
        "netc": netc.__version__,
    }


def keep(made: Path, place: Path, patterns: tuple[str, ...]) -> None:
    """Put files that a run made in the place of those of the run before."""
    for pattern in patterns:
        for old in place.glob(pattern):
            old.unlink()
        for path in made.glob(pattern):
            target = place / path.relative_to(made)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)


def number(figures: Any, place: str) -> float:
    """What stands at `a.b.c` of an object of JSON."""
    for key in place.split("."):
        figures = figures[int(key)] if isinstance(figures, list) else figures[key]
    return float(figures)


def missing(form: Form) -> list[str]:
    """The files that a run needs and that are not there."""
    return [name for name in form.needs if not (_data() / name).exists()]


def _data() -> Path:
    return Path(os.environ.get("NETC_DATA", "data")).resolve()


def _environment(data: Path) -> dict[str, str]:
    root = str(Path(netc.__file__).parents[1])
    python = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": python, "NETC_DATA": str(data)}


def _words(command: str) -> list[str]:
    """A command as it is typed, run with this Python whatever the PATH says."""
    first, *more = shlex.split(command.replace("{data}", shlex.quote(str(_data()))))
    return {"netc": [sys.executable, "-m", "netc"], "python": [sys.executable]}.get(first, [first]) + more


def table(results: Path = RESULTS) -> str:
    """The gallery as a table of Markdown: an example a row, with what its kept runs say."""
    lines = ["| example | what it is | figures | data | seconds | day |", "|---|---|---|---|---:|---|"]
    for which in catalogue().values():
        rows = []
        for form in which.forms:
            path = results / f"{which.name}-{form}.json"
            if path.exists():
                kept = json.loads(path.read_text(encoding="utf-8"))
                figures = "; ".join(f"{_said(value)} {words}" for words, value in kept["figures"].items())
                rows.append([figures, kept["data"], f"{kept['seconds']:,.0f}", kept["day"]])
        page = f" (Caffe's: {which.page})" if which.page else ""
        first = [f"[{which.name}]({which.files[0]})", which.title + page]
        for row in rows or [[""] * 4]:
            lines.append(f"| {' | '.join([*first, *row])} |")
            first = ["", "the whole of it"]
    return "\n".join(lines) + "\n"


def _said(value: float) -> str:
    return f"{100 * value:.2f} %" if 0 <= value <= 1 else f"{value:,.4g}"


def with_table(text: str, made: str) -> str:
    """A page whose part between the two marks is the table."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + made + END + tail


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the examples, and write their figures into README.md.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="else all of them")
    parser.add_argument("--full", action="store_true", help="the whole of each, on the whole of its data: hours")
    parser.add_argument("--table", action="store_true", help="write the table from the kept results, and run nothing")
    given = parser.parse_args()
    rows = catalogue()
    unknown = [name for name in given.names if name not in rows]
    if unknown:
        parser.error(f"there is no example {', '.join(unknown)}; there are {', '.join(rows)}")
    form, failed = FORMS[given.full], []
    for which in [] if given.table else [rows[name] for name in given.names or rows]:
        if form not in which.forms:
            continue
        if lacking := missing(which.forms[form]):
            print(
                f"{which.name}: skipped: {_data()} has no {', '.join(lacking)}; NETC_DATA names the folder of data sets"
            )
            continue
        print(f"{which.name}: {which.title}", flush=True)
        try:
            result = run(which, form)
        except subprocess.CalledProcessError as error:
            failed.append(which.name)
            print(f"  failed: {shlex.join(error.cmd)} ended with {error.returncode}")
            continue
        RESULTS.mkdir(exist_ok=True)
        write_text(RESULTS / f"{which.name}-{form}.json", json.dumps(result, indent=2) + "\n")
        print(f"  {'; '.join(f'{_said(value)} {words}' for words, value in result['figures'].items())}")
    write_text(README, with_table(README.read_text(encoding="utf-8"), table()))
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
