"""The compiler driver: from the text of a `.net` file to a program that runs, on one page.

    text -> Experiment -> Net -> gradient, update, flat state, simplified -> kernels -> plan -> Program -> Executable

`Compilation` is one program on this way. Each station is an attribute, made when somebody first asks for it;
`netc show --stage` prints them. Nothing is computed here: each line calls the part that does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .compiler.build import Experiment, build, load
from .compiler.codegen import emit
from .compiler.graph import Graph
from .compiler.kernel import Blocks
from .compiler.net import OBJECTIVE, Net
from .compiler.program import Program, Sizes, StateInfo, joined
from .compiler.spec import TrainSpec
from .compiler.types import SIZES
from .compiler.value_ranges import value_ranges, with_flags
from .grammar.source import Source, UserError
from .machine import cores, microarchitecture
from .passes import manager, pipeline
from .passes.host_calls import check_state, split
from .passes.lowering.memory import commits
from .passes.training.flatten import flat_layout, learned
from .passes.training.precision import Types, types_of
from .passes.training.scaling import Scaling
from .passes.training.update import apply, owned, solver_state
from .passes.unit import Choices, Unit
from .request import Request

if TYPE_CHECKING:
    from .fitting import Fit
    from .passes.lowering.measured import Measured
    from .runtime.executable import Executable
    from .runtime.state import State

SOLVER = "(solver)"  # in the place of a layer: no layer has such a name


class Compilation:
    """One program of an experiment, from the net to the program's text.

    layout: where state lies, if another program shares it. spec: the `train` block that a training step follows.
    """

    def __init__(
        self,
        experiment: Experiment,
        request: Request,
        *,
        layout: Sequence[StateInfo] | None = None,
        spec: TrainSpec | None = None,
    ) -> None:
        self.experiment = experiment
        self.request = request
        self.spec = spec or experiment.block_of(request.net)
        self._layout = layout
        self._trial: dict[str, Blocks | str] = {}
        self._sizes: Sizes = {}
        self._cut: tuple[Compilation, Callable[[Compilation], Compilation]] | None = None

    @cached_property
    def net(self) -> Net:
        """The graph of the layers, one primitive a node, with the tables about it."""
        want = self.request
        name = want.net or (self.spec.net if self.spec else self.experiment.default_net())
        # What the `train` block says gives way to what the caller says.
        given = {k: v for k, v in self.experiment.settings.items() if k in self.experiment.net(name).formals}
        net = build(
            self.experiment,
            name,
            mode=want.mode,
            dims=want.dims,
            settings={**(self.spec.settings if self.spec else {}), **given},
            outputs=want.outputs,
            kinds=want.kinds,
            python=want.python,
            across=want.across,
            made=self._sizes,
        )
        if want.deployed and want.outputs is None and not net.outputs:
            has = "`output`s are of test mode" if want.mode == "train" else "the net has no `output`"
            raise UserError(f"{self.experiment.source.path}: {has}; name a value with --output")
        return net

    @cached_property
    def layout(self) -> tuple[StateInfo, ...]:
        """Where each tensor of state lies: parameters end to end in flat buffers."""
        return tuple(self._layout) if self._layout is not None else flat_layout(self.net.state)

    def share(self, layout: Sequence[StateInfo]) -> None:
        """Use this layout, which other programs use as well; before anything that depends on it was made."""
        self._layout = layout

    def on(self, **where: Any) -> Compilation:
        """The same program for another GPU (`arch`) or `target`, or by other `schedules`; all else is shared."""
        return self._other(replace(self.request, **where))

    def unfused(self) -> Compilation:
        """The same program with each op a kernel of its own."""
        return self._other(replace(self.request, fused=False))

    def trying(self, blocks: Mapping[str, Blocks | str]) -> Compilation:
        """The same program with these blocks (or algorithms) for kernels, by their hash, before all in tables."""
        other = self._other(self.request)
        other._trial = dict(blocks)
        return other

    def keeping(self, names: Sequence[str]) -> Compilation:
        """The same program with these values, of layers or bound names, among its outputs as well."""
        net = self.net
        graph = net.graph.with_roots({**net.graph.outputs, **{name: net.tensor(name) for name in names}})
        return self._of(replace(net, graph=graph), self.request, lambda whole: whole.keeping(names))

    def part(self, cut: Callable[[Net], Net], gradients: Sequence[str] = ()) -> Compilation:
        """The program of a part of the net (`passes.segment`), on the same layout; it never learns."""
        request = replace(self.request, update=False, gradients=tuple(gradients))
        return self._of(cut(self.net), request, lambda whole: whole.part(cut, gradients))

    def recomputing(self, regions: Mapping[str, int]) -> Compilation:
        """The same program, in which the backward pass also recomputes these layers, whatever memory that needs."""
        request = replace(self.request, max_memory=None)
        return self._of(self.net.recomputing(regions), request, lambda whole: whole.recomputing(regions))

    @cached_property
    def fit(self) -> Fit | None:
        """What is recomputed so that the program fits into the memory asked for; UserError where it cannot."""
        from .fitting import fit

        return fit(self, self.request.max_memory) if self.request.max_memory is not None else None

    def _of(self, net: Net, request: Request, cut: Callable[[Compilation], Compilation]) -> Compilation:
        other = self._other(request)
        # Layers compute in the same types, whoever reads them in a part.
        vars(other).update(net=net, types=self.types, layout=self.layout, _cut=(self, cut))
        for station in ("pipeline", "passes", "state", "fit"):
            vars(other).pop(station, None)
        return other

    def _other(self, request: Request) -> Compilation:
        """The same net, without what depends on how it is made into kernels."""
        _ = self.net  # built once for both, whichever is asked first
        other = copy(self)
        other.request = request
        for station in ("lowering", "fused", "program", "apply_fused", "programs"):
            vars(other).pop(station, None)
        return other

    def sized(self, records: int) -> Compilation:
        """The same program for so many records at a time, unless the net fixes them."""
        if self.net.dims.get("N", records) == records:
            return self
        dims = {**self.request.dims, "N": records}
        return Compilation(self.experiment, replace(self.request, dims=dims), layout=self._layout, spec=self.spec)

    def resized(self, sizes: Sizes) -> Compilation:
        """The same program for other sizes of what layers in Python give; UserError where its state does not fit."""
        if not sizes:
            return self
        if self._cut is not None:
            whole, cut = self._cut
            return cut(whole.resized(sizes))
        other = Compilation(self.experiment, self.request, layout=self.layout, spec=self.spec)
        other._sizes, other._trial = sizes, self._trial
        check_state(self.layout, other.net.state)
        return other

    @property
    def learns(self) -> bool:
        """Whether the program commits a solver's update."""
        update = self.request.update
        return self.request.mode == "train" and (self.spec is not None if update is None else update)

    @cached_property
    def pipeline(self) -> manager.Pipeline:
        """The passes between the net and fusion."""
        graph, wrt = self.net.graph, self.request.gradients
        regions = self.recomputing(self.fit.regions).net.regions if self.fit is not None else self.net.regions
        if self.learns:
            spec = self.training
            return pipeline.train(
                graph,
                spec.solver,
                self.layout,
                clip=spec.clip,
                types=self.types,
                scaling=self.scaling,
                shown=self.net.differentiable(wrt),
                regions=regions,
                **self._summed,
            )
        if self.request.mode == "train" and self.request.update is None and not wrt and OBJECTIVE in graph.outputs:
            wrt = tuple(info.name for info in learned(self.layout) if info.name in graph.params)
        if not wrt:
            return pipeline.test(self.layout, types=self.types)
        values = self.net.differentiable(wrt)
        return pipeline.gradients(wrt, self.layout, types=self.types, values=values, regions=regions)

    @cached_property
    def types(self) -> Types | None:
        """The types in which layers compute, where any number is of 16 bits."""
        found = types_of(self.net, self.request.numbers.precision)
        return found if found.narrow or found.used else None

    @property
    def scaling(self) -> Scaling | None:
        """How the loss is scaled, which a step that learns in f16 needs."""
        needed = self.learns and self.types is not None and "f16" in self.types.narrow
        return Scaling(growth=self.request.numbers.growth) if needed else None

    @property
    def training(self) -> TrainSpec:
        """The `train` block, which a program that learns needs."""
        if self.spec is None:
            raise UserError(f"the file has no `train` block for the net `{self.net.name}`, so there is no solver")
        return self.spec

    @cached_property
    def passes(self) -> tuple[manager.Stage[Graph], ...]:
        """What each pass made, in order."""
        found: list[manager.Stage[Graph]] = []
        self._run(with_flags(self.net), self.pipeline, found.append)
        return tuple(found)

    @property
    def stations(self) -> dict[str, Graph]:
        """The graph after each pass, by the pass's name; `build` is the net's."""
        return {"build": self.net.graph, **{stage.name: stage.after for stage in self.passes}}

    @cached_property
    def lowering(self) -> tuple[manager.Stage[Unit], ...]:
        """What each stage of lowering made, in order, for looking at; `fused` and `program` come by the same stages."""
        found: list[manager.Stage[Unit]] = []
        self._run(self.unit(self.alone().simplified), pipeline.LOWER[self.request.target], found.append)
        return tuple(found)

    @property
    def simplified(self) -> Graph:
        """The graph of primitives that is fused."""
        return [*self.stations.values()][-1]

    @cached_property
    def fused(self) -> Unit:
        """The graph of kernels, and the ledger of what was fused and why."""
        return self.fuse(self.alone().simplified)

    def fuse(self, graph: Graph, observe: Callable[[manager.Stage[Unit]], None] | None = None) -> Unit:
        """A graph of primitives, this program's or another of the same net, as kernels for the target."""
        return self._run(self.unit(graph), pipeline.LOWER[self.request.target][:-1], observe)

    def unit(self, graph: Graph) -> Unit:
        """A graph of primitives, before the stages of lowering."""
        apart = [layer for layer, found in self.net.directives.items() if "nofuse" in found]
        fused, how = self.request.fused, self.request.numbers
        precision: Literal["ieee", "tf32"] = "tf32" if how.tf32 else "ieee"
        return Unit(graph, Choices(fused, apart, self.threads, self.arch, precision, self._measured(), not how.direct))

    def _measured(self) -> Measured | None:
        """The schedules and algorithms that were measured, which go before those of a cost model or a rule."""
        want = self.request
        if not want.choice.row.schedules or not want.fused:
            return None
        from .passes.lowering.measured import Measured

        # A program for another GPU than this machine's is written for its architecture, whatever its name.
        cuda = want.choice.open() if not want.arch else None
        device = cuda.gpu if cuda is not None else microarchitecture() if want.choice.row.threads else ""
        return Measured(want.schedules.table(), want.schedules.frozen, device, self._trial, self.threads)

    @property
    def threads(self) -> int:
        """How many threads the program is written for."""
        return self.request.threads or cores()

    @property
    def arch(self) -> str:
        """The architecture of GPU that a program for one is written for."""
        choice = self.request.choice
        return self.request.arch or choice.arch or choice.row.arch

    @cached_property
    def program(self) -> Program:
        """The text of the target, with its tables; of several parts where Python functions are called."""
        parts = split(self.simplified)
        if len(parts) == 1:
            return self.lower(self.fused)
        lowered = [self.lower(self.fuse(part)) if isinstance(part, Graph) else part for part in parts]
        fed, given = ({k: x.type for k, x in t.items()} for t in (self.simplified.inputs, self.simplified.outputs))
        return replace(joined(lowered, fed, given), resized=lambda sizes: self.resized(sizes).program)

    def alone(self) -> Compilation:
        """Itself, for what takes one program; UserError where Python stands between several."""
        if len(split(self.simplified)) > 1:
            what = "only nets of one program are exported, verified, tuned, or shown by their kernels"
            raise UserError(f"`{self.net.name}` calls Python between its programs; {what}")
        return self

    @cached_property
    def programs(self) -> tuple[Program, ...]:
        """What runs, in its order: the program of a batch, and where several make an update that of the update."""
        return (self.program,) if self.apply_fused is None else (self.program, self.lower(self.apply_fused))

    @cached_property
    def apply_fused(self) -> Unit | None:
        """The kernels of that update."""
        if not self.learns or set(self._summed.values()) == {1}:
            return None
        spec, owner = self.training, self.request.owner
        graph = apply(spec.solver, self.layout, clip=spec.clip, scaling=self.scaling, owner=owner, **self._summed)
        return self.fuse(self._run(graph, pipeline.apply()))

    @property
    def _summed(self) -> dict[str, int]:
        """Of how many batches, in how many parts each, an update takes the gradients."""
        return {"batches": self.training.accumulate, "parts": self.request.shares}

    def lower(self, unit: Unit) -> Program:
        """Kernels placed in memory, and written as text."""
        net, target = self.net, self.request.target
        unit = self._run(unit, pipeline.LOWER[target][-1:])
        assert unit.plan is not None
        parts = {
            (i.buffer, i.offset * SIZES[i.type.dtype], i.type.nbytes): i.name for i in self.layout if i.buffer != i.name
        }
        graph, plan = unit.graph, replace(unit.plan, parts=parts)
        with self._repeated(), manager.guarded("code generation", unit):
            program = emit(graph, plan, name=net.name, mode=net.mode, target=target, dims=net.dims, ledger=unit.ledger)
        of_all = [(one, self.whose(one.layers, one.places)) for one in program.launches]
        launches = tuple(replace(one, layers=layers, places=places) for one, (layers, places) in of_all)
        ledger = tuple(replace(one, layers=self.whose(one.layers, ())[0]) for one in program.ledger)
        return replace(program, launches=launches, ledger=ledger, ranges=value_ranges(net), commits=commits(plan))

    def _run(self, of: manager.Passed, passes: Any, observe: Any = None) -> manager.Passed:
        with self._repeated():
            return manager.run(of, passes, observe)

    def _repeated(self) -> AbstractContextManager[None]:
        """What fails inside is told with the command that repeats it."""
        return self.request.repeated(self.experiment.source.path, self.net.dims)

    def whose(self, layers: tuple[str, ...], places: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The layers and places shown for a kernel; one of no layer, in a step that learns, is the solver's."""
        if layers or not self.learns:
            return layers, places
        return (SOLVER,), (Path(self.training.place).name,)  # as of layers, without the folder

    @cached_property
    def state(self) -> tuple[StateInfo, ...]:
        """All state: the net's and, for a step that learns, the solver's."""
        if not self.learns:
            return self.layout
        kept = solver_state(self.training.solver, self.layout, scaling=self.scaling, **self._summed)
        return (*self.layout, *(info for info in kept if info.kind != "history" or self.request.owner is None))

    def new_state(self, seed: int | None = None) -> State:
        """State of its own, with first values from the seed (without one, the request's, the block's, or 0).

        UserError where the program would not fit into the memory of this machine.
        """
        from .fitting import fits_machine
        from .runtime.state import State

        fits_machine(self)
        state = State(self.state)
        seeds = (seed, self.request.seed, self.spec.seed if self.spec else 0)
        state.fill(next(one for one in seeds if one is not None))
        return state

    def executables(self, state: State) -> list[Executable]:
        """The program, loaded on a state; where gradients are made apart also the update that follows them."""
        from .runtime.executable import Executable

        states = [state] * len(self.programs)
        if self.learns and self.request.owner is not None:
            from .runtime.distributed.shares import share_state

            own, start = owned(self.training.solver, self.layout, self.request.owner)
            states[-1] = share_state(state, self.programs[-1], own, start)
        return [Executable(program, at, self.request.device) for program, at in zip(self.programs, states, strict=True)]


def compilation(file: str | Path | Source, request: Request | None = None, **wanted: Any) -> Compilation:
    """The compilation of one program of a file. wanted: what a `Request` takes, in the place of one.

    Raises SourceErrors, or UserError for a file that cannot be read.
    """
    want = request or Request(**wanted)
    source = file if isinstance(file, Source) else Path(file)
    made = Compilation(load(source, settings=want.settings, dims=want.dims, reading=want.reading), want)
    return made if not want.auto or made.net.losses else Compilation(made.experiment, replace(want, mode="test"))
