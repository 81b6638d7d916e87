"""`python -m netc.caffe script.py …`: run a script of Caffe's as it is, with `caffe` being netc's.

`python -m netc.caffe TOOL …` is one of Caffe's own tools, as `netc caffe TOOL …`.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from ..grammar.source import UserError

REAL = "netc.caffe"
USAGE = """usage: python -m netc.caffe [--target TARGET] SCRIPT.py|-m MODULE|TOOL [ARGUMENT]…
Runs a script, or as -m a module (unittest), that imports caffe, which is then netc's, or one of Caffe's tools
(netc caffe --help lists them). --target: of the script's nets, as netc devices lists them."""


class CaffeFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """An import hook for which `caffe` and what lies in it are the modules of netc themselves, not copies."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] != "caffe":
            return None
        real = REAL + name.removeprefix("caffe")
        try:
            found = importlib.util.find_spec(real)
        except ModuleNotFoundError:
            return None
        return importlib.util.spec_from_loader(name, self) if found is not None else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(REAL + spec.name.removeprefix("caffe"))
        self._own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It ran when it was imported; the machinery has written over what it says of itself."""
        module.__spec__ = self._own


def install() -> None:
    """Have `import caffe` mean netc's, before any other."""
    if not any(isinstance(finder, CaffeFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, CaffeFinder())


def main(argv: Sequence[str]) -> int:
    """Run the script that arguments name: 2 where there is none, else what it exits with."""
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, file=sys.stderr if not argv else sys.stdout)
        return 0 if argv else 2
    if argv[0] == "--target":
        from .process import set_target

        try:
            set_target(argv[1] if len(argv) > 1 else "")
        except UserError as error:
            print(f"netc: {error}", file=sys.stderr)
            return 2
        return main(argv[2:])
    if argv[0] == "-m" and len(argv) > 1:
        install()
        sys.argv = list(argv[1:])
        sys.path[0] = str(Path.cwd())
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        return 0
    from ..commands.caffe import TOOLS

    script = Path(argv[0])
    if argv[0] in TOOLS and not script.is_file():
        from ..__main__ import cli

        cli(["caffe", *argv], prog_name="netc")
    if not script.is_file():
        print(f"netc: there is no script {script}", file=sys.stderr)
        return 2
    install()
    sys.argv = [str(script), *argv[1:]]
    sys.path[0] = str(script.resolve().parent)
    runpy.run_path(str(script), run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
