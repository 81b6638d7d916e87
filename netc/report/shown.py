"""A stage of a compilation as a value: its text, its picture, and how a notebook shows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..compiler.caffe.reading import tree_of
from ..driver import Compilation
from ..grammar.parse import read_source
from ..grammar.source import Source, UserError, path_of
from ..request import Request
from .show import DRAWN, picture, text, tree_text


@dataclass(frozen=True)
class Shown:
    """What a net is at a stage. text: as `netc show --stage` prints it; `svg` is its picture, where there is one."""

    net: str
    mode: str
    stage: str
    text: str
    made: Compilation | None = None

    @property
    def svg(self) -> str:
        """The picture; UserError for a stage that is no graph of the net or of its kernels."""
        if self.made is None:
            raise UserError(f"pictures are of the stages {', '.join(DRAWN)}, not of {self.stage}")
        return picture(self.made, self.stage)

    def save(self, path: str | Path) -> None:
        """Write the picture where the name ends with `.svg`, else the text; whole or not at all."""
        from ..runtime.atomic import write_text

        file = path_of("path", path)
        write_text(file, self.svg if file.suffix.lower() == ".svg" else self.text)

    def __str__(self) -> str:
        return self.text.rstrip("\n")

    __repr__ = __str__

    def _repr_svg_(self) -> str | None:
        return self.svg if self.made is not None and self.stage in DRAWN else None


def shown(made: Compilation, stage: str) -> Shown:
    """A stage of a program; UserError for one that it does not have."""
    if stage == "gradient" and made.request.mode == "test":
        raise UserError(f"there are no gradients in test mode{'' if made.request.auto else '; use --mode train'}")
    return Shown(made.net.name, made.request.mode, stage, text(made, stage), made)


def tree_shown(file: Source | Path, want: Request) -> Shown:
    """The syntax tree of a file."""
    source = file if isinstance(file, Source) else read_source(file)
    return Shown(source.path, want.mode, "ast", tree_text(tree_of(source, want.settings, want.reading).file))


def looked_at(want: Request) -> Request:
    """The same, with kernels written for a GPU that is known; on the device cuda for this machine's, or UserError."""
    known = want.choice.row.arch
    if want.device != "cuda":
        return replace(want, arch=known)
    from ..runtime.triton.run.device import NoGpu

    try:
        want.choice.open()
    except NoGpu as error:
        raise error.instead(f"use --target {want.target} alone, which shows kernels for {known}") from None
    return want
