"""A net run from its statements, and what it gathered put together: `build`, and the trial by which `load` checks."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ...grammar import tree
from ...grammar.source import SourceError, SourceErrors, UserError, suggest
from ..expr import cast
from ..graph import Graph, Node, TooManyNodes, at, node_limit
from ..host import Across, Sizes
from ..net import OBJECTIVE, Net, find_tensor
from ..schema.settings import UNKNOWN
from ..types import SIZES, wide
from . import body
from .dims import sizes_in, symbols
from .experiment import Experiment
from .expressions import evaluate
from .frame import Binding, Frame
from .limits import MAX_ELEMENTS, MAX_NODES, MAX_WHOLE, Stop, deep_recursion, limit
from .module import NetEntry
from .names import Counts, canonical
from .problems import Problems
from .state import NetState, Python, Usage

Mode = Literal["train", "test"]
# Sizes of symbols that nobody gave, where a file is only checked: large enough for the usual chain of pooling.
CHECKED_SIZES = {"N": 2, "C": 3, "H": 224, "W": 224}
CHECKED_SIZE = 8


def build(
    experiment: Experiment,
    net: str,
    *,
    mode: Mode,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    python: bool = False,
    made: Mapping[str, Sizes] | None = None,
    across: Across | None = None,
) -> Net:
    """The graph of one net in one mode.

    dims: sizes of symbolic dimensions; without one for `N` the batch of the net's training data, else 2; for others
    what a record of the data says, where data may be opened. settings: of the net's own parameters, over what `load`
    was given. outputs: the names wanted, any that the net binds; None: losses and metrics in training (of Caffe's nets
    outputs, too), all roles in testing, or those of some kinds. python: whether layers in Python may run. made: the
    sizes of what those gave, where it is something else than they say. across: the processes that train it together.
    Raises SourceErrors, and UserError for names that are not in the file.
    """
    state, env, problems = gathered(
        experiment, net, mode=mode, dims=dims, settings=settings, python=python, made=made, across=across
    )
    if kinds is not None and outputs is None:
        found = [
            (kind, key) for key, (kind, node, _) in state.roles.items() if node and (kind != "output" or mode == "test")
        ]
        outputs = [key for wanted in kinds for kind, key in found if kind == wanted]
    # Caffe's solvers decay and save the parameters of layers that no loss reaches, too.
    every = experiment.net(net).module.foreign
    return assemble(state, env, net, mode, outputs, tuple(problems.warnings), every=every)


def gathered(
    experiment: Experiment,
    net: str,
    *,
    mode: Mode,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    python: bool = False,
    made: Mapping[str, Sizes] | None = None,
    across: Across | None = None,
) -> tuple[NetState, dict[str, Binding], Problems]:
    """All statements of one net run, before anything is left out; the arguments are those of `build`."""
    entry = experiment.net(net)
    if why := entry.module.refused.get((net, mode)):
        raise SourceErrors(why)
    given = _net_settings(experiment, entry, settings)
    sizes = _sizes(experiment, entry, net, dims or {})
    needed = symbols(entry.definition.body, {*entry.module.consts, *entry.formals})
    if any(name not in sizes for name in needed):
        sizes = {**sizes_in(entry.definition.body, experiment.shapes(net)), **sizes}
    missing = [symbol for name, symbol in needed.items() if name not in sizes]
    if missing:
        first = missing[0]
        message = f"`{first.name}` has no value: give --dim {first.name}=20, or write a number here"
        failed = experiment.records.failed if experiment.records is not None else ()
        raise SourceErrors([SourceError("E314", message, first.span, "", dict.fromkeys(failed))])
    problems = Problems()
    layers = Python(python, experiment.python, made or {}, across)
    state, env = run(entry, problems, experiment.counts, Usage(), mode == "train", sizes, given, layers)
    problems.raise_if_any()
    return state, env, problems


def run(
    entry: NetEntry,
    problems: Problems,
    counts: Counts,
    usage: Usage,
    training: bool,
    dims: Mapping[str, int],
    settings: Mapping[str, Any],
    python: Python | None = None,
) -> tuple[NetState, dict[str, Binding]]:
    """All statements of a net; errors are in `problems`."""
    definition = entry.definition
    known = {*entry.module.consts, *entry.formals}
    state = NetState(
        definition.name.name,
        training,
        problems,
        counts,
        usage,
        dict(dims),
        symbols(definition.body, known),
        python=python,
    )
    env: dict[str, Binding] = {}
    frame = Frame(problems, entry.module, "net", net=state, scope=state.root, env=env, body=definition.body)
    with deep_recursion(), node_limit(MAX_NODES):
        try:
            formals(frame, definition, settings)
            body.run(frame, definition.body)
        except TooManyNodes:
            message = f"the net `{state.name}` expands to more than {MAX_NODES:,} nodes"
            problems.add(limit("E511", message, definition.name.span))
        except Stop:
            pass
    return state, env


def formals(frame: Frame, definition: tree.NetDef, settings: Mapping[str, Any]) -> None:
    """A net's own parameters: what is set, else their defaults; unknown where there is neither."""
    for formal in definition.formals:
        name = formal.name.name
        if name in settings:
            value = settings[name]
        elif formal.default is not None:
            value = evaluate(Frame(frame.problems, frame.module, "file", env=frame.env), formal.default)
        else:
            value = UNKNOWN
        frame.env[name] = Binding(value, formal.name.span)


def assemble(
    state: NetState,
    env: Mapping[str, Binding],
    name: str,
    mode: Mode,
    outputs: Sequence[str] | None,
    warnings: tuple[SourceError, ...],
    *,
    every: bool = False,
) -> Net:
    """The net of what was gathered, cut down to what its outputs need."""
    named = _named(state, env)
    wanted = _wanted(state, named, mode, outputs, every=every)
    if mode == "train":
        objective = _objective(state, wanted if outputs is not None else None)
        if objective is not None:
            wanted[OBJECTIVE] = objective
    reached = set(Graph(wanted).order)
    rows = [row for row in state.rows if any(top in reached for top in row.tops)]
    alive = {row.info.name for row in rows}
    updates = {key: node for key, (node, layer) in state.updates.items() if layer in alive}
    graph = Graph(wanted, updates)
    params = graph.params
    infos = [info for info in state.state.values() if info.name in params]
    return Net(
        name=name,
        mode=mode,
        graph=graph,
        inputs={key: node.type for key, node in state.inputs.items() if key in graph.inputs},
        state=tuple(sorted(infos, key=lambda info: info.kind == "counter")),
        layers=tuple(row.info for row in rows),
        losses={k: w for k, (kind, _, w) in state.roles.items() if kind == "loss" and k in wanted},
        metrics=tuple(k for k, (kind, _, _) in state.roles.items() if kind == "metric" and k in wanted),
        outputs=tuple(k for k in wanted if k != OBJECTIVE and state.roles.get(k, ("output",))[0] == "output"),
        dims={key: size for key, size in state.dims.items() if key in state.symbols},
        warnings=warnings,
        directives={key: found for key, found in state.directives.items() if key in alive},
        tops={row.info.name: tuple(top for top in row.tops if top in reached) for row in rows},
        named=named,
    )


def _named(state: NetState, env: Mapping[str, Binding]) -> dict[str, Node]:
    """Every tensor by the names it can be asked for: those of roles, then those that statements bind, then layers.

    The second top of the layer `s` is `s.2`. Where a statement binds a layer's name to another value, the layer is
    `<name>.<kind>`. `/` in a layer's name can be written as `.`, as in weight files.
    """
    found = {key: node for key, (_, node, _) in state.roles.items() if node is not None}
    for key, binding in env.items():
        if isinstance(binding.value, Node):
            found.setdefault(key, binding.value)
    tops = [(row.info, i, top) for row in state.rows for i, top in enumerate(row.tops)]
    for info, i, top in tops:
        found.setdefault(info.name if i == 0 else f"{info.name}.{i + 1}", top)
    for info, i, top in tops:
        if i == 0:
            found.setdefault(f"{info.name}.{info.kind}", top)
        found.setdefault(canonical(info.name if i == 0 else f"{info.name}.{i + 1}"), top)
    return found


def _wanted(
    state: NetState, named: Mapping[str, Node], mode: Mode, outputs: Sequence[str] | None, *, every: bool
) -> dict[str, Node]:
    """The nodes asked for, by name. every: all roles in a training step, too."""
    if outputs is not None:
        return {key: find_tensor(named, key, state.name) for key in outputs}
    roles = {key: (kind, node) for key, (kind, node, _) in state.roles.items() if node is not None}
    order = ("loss", "metric") if mode == "train" else ("output", "metric", "loss")
    if every and mode == "train" and any(kind == "loss" for kind, _ in roles.values()):
        order = (*order, "output")
    return {key: node for kind in order for key, (k, node) in roles.items() if k == kind}


def _objective(state: NetState, wanted: Mapping[str, Node] | None) -> Node | None:
    """The weighted sum of the losses (of those asked for), in the widest of their types; None without any."""
    losses = [
        (node, weight)
        for key, (kind, node, weight) in state.roles.items()
        if kind == "loss" and node is not None and (wanted is None or key in wanted)
    ]
    # Losses of half precision are weighed and added in single, as all calculations are.
    types = {wide(node.dtype) if len(losses) > 1 or weight != 1.0 else node.dtype for node, weight in losses}
    total: Node | None = None
    for node, weight in losses:
        with at(node.span, OBJECTIVE):
            term = cast(node, max(types, key=SIZES.__getitem__))
            term = term if weight == 1.0 else term * weight
            total = term if total is None else total + term
    return total


def _net_settings(experiment: Experiment, entry: NetEntry, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings of a net's parameters: of `load`, then those given here, which must all be its."""
    names = entry.formals
    found = {key: plain(value) for key, value in experiment.settings.items() if key in names}
    for key, value in (settings or {}).items():
        if key not in names:
            title = entry.definition.name.name
            near = suggest(key, names) or (f"it has {', '.join(names)}" if names else "it has none")
            raise UserError(f"the net `{title}` has no setting `{key}`; {near}")
        found[key] = plain(value)
    missing = [f.name.name for f in entry.definition.formals if f.default is None and f.name.name not in found]
    if missing:
        title = entry.definition.name.name
        raise UserError(f"the net `{title}` needs a value for `{missing[0]}`: give --set {missing[0]}=…")
    return found


def plain(value: Any) -> Any:
    """A setting as a constant: texts of the command line are read as numbers or true and false where they are such."""
    if isinstance(value, list):
        return tuple(map(plain, value))
    if not isinstance(value, str):
        return value
    if value in ("true", "false"):
        return value == "true"
    for read in (int, float):
        try:
            number = read(value)
        except ValueError:
            continue
        # What is no number of the language stays a text, and is refused where a number is wanted.
        return number if abs(number) <= (MAX_WHOLE if read is int else sys.float_info.max) else value
    return value


def _sizes(experiment: Experiment, entry: NetEntry, net: str, dims: Mapping[str, int]) -> dict[str, int]:
    """The sizes of a net's symbols; UserError for one that it does not have or that is no size."""
    found = symbols(entry.definition.body, {*entry.module.consts, *entry.formals})
    for key, size in dims.items():
        if key not in found:
            near = suggest(key, found) or (f"it has {', '.join(found)}" if found else "it has none")
            raise UserError(f"the net `{net}` has no dimension `{key}`; {near}")
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_ELEMENTS:
            raise UserError(f"the dimension `{key}` is a whole number from 1 to {MAX_ELEMENTS:,}, not {size}")
    sizes = {key: int(size) for key, size in dims.items()}
    if "N" in found and "N" not in sizes:
        sizes["N"] = experiment.batch(net) or CHECKED_SIZES["N"]
    return sizes


def checked_sizes(entry: NetEntry) -> dict[str, int]:
    """Sizes for all symbols of a net, to check it with."""
    found = symbols(entry.definition.body, {*entry.module.consts, *entry.formals})
    return {key: CHECKED_SIZES.get(key, CHECKED_SIZE) for key in found}
