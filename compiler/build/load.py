"""A `.net` file with its imports to an `Experiment`: every definition entered, every mistake of the file reported.

Constants are folded, ops and blocks entered, data bound to its source's schema; then each net is run once with sizes
made up for its symbols (`check`), so that mistakes in shapes are found whether or not the net is ever built.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from ...grammar import tree
from ...grammar.parse import parse, read_source
from ...grammar.source import Source, SourceError, SourceErrors, Span, UserError
from ..caffe.options import Reading
from ..caffe.reading import tree_of
from ..layers import LAYERS
from ..schema import synonyms as foreign
from ..schema.schema import arguments_of, bind, signature_of
from ..schema.sources import SOURCES
from ..spec import DataSpec
from . import calls
from .check import check_nets
from .experiment import Experiment
from .expressions import evaluate
from .frame import Frame
from .limits import MAX_IMPORT_CHARACTERS, MAX_IMPORT_DEPTH, MAX_IMPORTS, Stop, deep_recursion, limit
from .module import Entry, Function, Module, NetEntry
from .names import Counts
from .overrides import check_overrides, constant, data_of
from .problems import Problems
from .static import check_names
from .train import NUMBERS, read_trains

TABLES = {"consts": "constant", "functions": "op or block", "nets": "net", "data": "data"}


def load(
    source: Source | Path | str,
    *,
    settings: Mapping[str, Any] | None = None,
    dims: Mapping[str, int] | None = None,
    reading: Reading | None = None,
) -> Experiment:
    """The experiment of a file (a path, or a source at hand: then its path says where imports are).

    settings: over what the file says, of nets, constants, data and `train` blocks (see overrides.py). dims: sizes of
    symbols to check the nets with, where a net has them. reading: how texts of Caffe's are read. Raises SourceErrors
    with all errors of the file, UserError for a file that cannot be read or a setting nobody has.
    """
    if not isinstance(source, Source):
        try:
            source = read_source(source)
        except SourceError as error:
            raise SourceErrors([error]) from None
    loader = Loader(Problems(), Counts(), settings or {})
    module = loader.main(source, settings or {}, reading or Reading())
    problems = loader.problems
    if not module.file.definitions:
        problems.add(SourceError("W609", "the file defines nothing", source.span(), "such as `net NAME { … }`"))
    data = {name: entry.value for name, entry in module.data.items() if entry.value is not None}
    if reading and reading.records and any(note.code == "W606" for note in problems.warnings):
        found = reading.records(tuple(data.values()))
        again = load(source, settings=settings, dims=dims, reading=replace(reading, records=None, found=found))
        again.records = reading.records
        return again
    check_overrides(module, settings or {}, NUMBERS)
    experiment = Experiment(module, data, (), settings=dict(settings or {}), counts=loader.counts)
    experiment.records = reading.records if reading else None
    try:
        with deep_recursion():
            for each in loader.modules.values():
                if each is not None:
                    check_names(each, problems)
            nets = check_nets(experiment, problems, dims or {})
            experiment.trains = read_trains(experiment, problems, nets)
    except Stop:
        pass
    if module.foreign and problems.errors:  # a shape that was assumed may be why
        problems.errors += [note for note in problems.warnings if note.code == "W606"]
    problems.raise_if_any()
    experiment.warnings = tuple(sorted(problems.warnings, key=lambda warning: warning.sort_key))
    return experiment


def entered(source: Source, file: tree.File) -> Experiment:
    """The experiment of a tree at hand, whose nets are not run beforehand; SourceErrors for mistakes in definitions."""
    loader = Loader(Problems(), Counts(), {})
    module = loader._define(source, file)
    module.foreign = True
    loader.problems.raise_if_any()
    data = {name: entry.value for name, entry in module.data.items() if entry.value is not None}
    return Experiment(module, data, (), counts=loader.counts)


class Loader:
    """Reads a file and what it imports, each file once. settings: what is set over what they say."""

    def __init__(self, problems: Problems, counts: Counts, settings: Mapping[str, Any]) -> None:
        self.problems = problems
        self.counts = counts
        self.settings = settings
        self.modules: dict[str, Module | None] = {}
        self.waiting: list[str] = []  # the files that are being read, each imported by the one before
        self.characters = 0

    def main(self, source: Source, settings: Mapping[str, Any], reading: Reading) -> Module:
        """The module of the file itself, in either language; its syntax errors are raised at once."""
        text = tree_of(source, settings, reading)
        for warning in text.warnings:
            self.problems.add(warning)
        key = os.path.realpath(source.path)
        self.waiting.append(key)
        module = self._define(source, text.file)
        module.foreign, module.refused = text.foreign, text.refused
        self.modules[key] = module
        return module

    def _define(self, source: Source, file: tree.File) -> Module:
        module = Module(source, file, Path(source.path).parent)
        try:
            for position, item in enumerate(file.definitions):
                if isinstance(item, tree.Import):
                    self._import(module, item, position)
            for position, item in enumerate(file.definitions):
                if not isinstance(item, (tree.Import, tree.TrainDef)):
                    self._enter(module, item, position)
        except Stop:
            module.incomplete = True
        return module

    def _enter(self, module: Module, item: tree.Definition, position: int) -> None:
        """One definition of a file."""
        frame = Frame(self.problems, module, "file", position)
        match item:
            case tree.Const():
                value = constant(self.settings, item.name.name, evaluate(frame, item.value))
                self._own(module, "consts", item.name, value, position)
            case tree.OpDef() | tree.BlockDef():
                self._formals(item.formals)
                name = item.name.name
                if name in LAYERS.own:
                    message = f"`{name}` is a layer of netc too; here your own is meant"
                    self.problems.add(SourceError("W602", message, item.name.span, severity="note"))
                self._own(module, "functions", item.name, Function(item, module, position), position)
                if isinstance(item, tree.BlockDef):  # now, while those above are counted: no deep recursion later
                    self.counts.body(item.body, module, position)
            case tree.NetDef():
                self._formals(item.formals)
                self._own(module, "nets", item.name, NetEntry(item, module), position)
            case tree.DataDef():
                self._own(module, "data", item.name, self._data(frame, item), position)
            case _:
                raise AssertionError(item)

    def _own(self, module: Module, table: str, name: tree.Name, value: Any, position: int) -> None:
        module.define(table, name.name, Entry(value, name.span, position), TABLES[table], self.problems)

    def _formals(self, formals: tuple[tree.Formal, ...]) -> None:
        seen: dict[str, Span] = {}
        for formal in formals:
            name = formal.name
            if name.name in seen:
                notes = [f"the first is at {seen[name.name]}"]
                self.problems.add(SourceError("E209", f"parameter `{name.name}` is named twice", name.span, "", notes))
            seen.setdefault(name.name, name.span)

    def _data(self, frame: Frame, item: tree.DataDef) -> DataSpec | None:
        """`data digits = mnist(…)`, bound; None where it is wrong."""
        if not isinstance(item.value, tree.Call):
            hint = f"such as mnist(batch: 64); there are {', '.join(SOURCES)}"
            self.problems.add(SourceError("E411", "`data` is given by a source", item.value.span, hint))
            return None
        callee = item.value.callee
        schema = SOURCES.get(callee.name)
        if schema is None:
            hint = SOURCES.credited(foreign.use(callee.name, SOURCES)) or f"there are {', '.join(SOURCES)}"
            self.problems.add(SourceError("E410", f"there is no data source `{callee.name}`", callee.span, hint))
            return None
        signature = signature_of(schema)
        arguments = arguments_of(item.value.args)
        reader = calls.FrameReader(frame)
        bound = bind(callee.name, signature, arguments, callee.span, reader, positional_settings=False, f32=True)
        if not bound.ok:
            return None
        place = f"{item.name.span.file}:{item.name.span.line}"
        spec = DataSpec(
            item.name.name, callee.name, bound.settings(signature), frame.module.folder, place, item.value.span
        )
        return data_of(self.settings, spec)

    def _import(self, module: Module, item: tree.Import, position: int) -> None:
        """What another file defines itself, into this one's tables."""
        other = self._other(module, item.path)
        if other is None:
            module.incomplete = True
            return
        module.imports[other.source.path] = other
        for table, what in TABLES.items():
            for name, entry in other.own(table):
                span = item.path.span
                module.define(table, name, Entry(entry.value, span, position), what, self.problems)
        module.incomplete = module.incomplete or other.incomplete

    def _other(self, module: Module, path: tree.String) -> Module | None:
        """The module of an imported file; None (reported) where it cannot be had."""
        span = path.span
        shown = os.path.normpath(os.path.join(os.path.dirname(module.source.path), path.value))
        if not path.value or not path.value.isprintable() or len(path.value) > 1000:
            return self._fail("E401", "an import needs the path of a file", span, 'such as import "blocks.net"')
        key = os.path.realpath(shown)
        if key in self.waiting:
            chain = " -> ".join(os.path.basename(name) for name in [*self.waiting[self.waiting.index(key) :], key])
            return self._fail("E402", f'"{path.value}" imports this file again', span, chain)
        if key in self.modules:
            return self.modules[key]
        if len(self.modules) + len(self.waiting) > MAX_IMPORTS:
            self._stop(f"more than {MAX_IMPORTS} files are imported", span)
        if len(self.waiting) > MAX_IMPORT_DEPTH:
            self._stop(f"imports go more than {MAX_IMPORT_DEPTH} files deep", span)
        if not os.path.isfile(key):
            what = "is a folder" if os.path.isdir(key) else "is no file" if os.path.exists(key) else "does not exist"
            return self._fail("E401", f'"{path.value}" {what}', span, f"{shown} was looked for, relative to this file")
        self.modules[key] = self._read(shown, key, span)
        return self.modules[key]

    def _read(self, shown: str, key: str, span: Span) -> Module | None:
        try:
            source = read_source(shown)
            self.characters += len(source.text)
            if self.characters > MAX_IMPORT_CHARACTERS:
                self._stop(f"imports have more than {MAX_IMPORT_CHARACTERS:,} characters", span)
            file = parse(source)
        except UserError as error:
            return self._fail("E401", str(error), span)
        except SourceError as error:
            self.problems.add(error)
            return None
        except SourceErrors as found:
            for problem in found.errors:
                self.problems.add(problem)
            return None
        self.waiting.append(key)
        try:
            return self._define(source, file)
        finally:
            self.waiting.pop()

    def _fail(self, code: str, message: str, span: Span, hint: str = "") -> Module | None:
        self.problems.add(SourceError(code, message, span, hint))
        return None

    def _stop(self, message: str, span: Span) -> NoReturn:
        self.problems.add(limit("E513", message, span))
        raise Stop
