"""The verification driver, from a file to a verdict: which programs are checked, and what is looked for on a fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..compiler.build import load
from ..compiler.build.dims import symbols
from ..compiler.build.nets import checked_sizes
from ..compiler.caffe.reading import is_prototxt
from ..compiler.codegen.target import TARGETS
from ..compiler.ops.rounding import Arithmetic
from ..driver import Compilation
from ..grammar.parse import read_source
from ..grammar.source import Source, SourceError, SourceErrors, UserError
from ..request import Mode, Request
from .bisect import explained, faults_with_taps
from .check import (
    FUSED,
    TAPPED,
    UNFUSED,
    Checked,
    Fault,
    KernelFault,
    MemoryFault,
    PassFault,
    check_kernels,
    check_layers,
    memory_faults,
    pass_faults,
    run_alone,
)
from .compare import Compared
from .crash import Crash, Crashed
from .derivatives import SlopeFault, slopes
from .proved import ProofFault, Proved, ReplayFault, replay_faults
from .reduce import reduced
from .subject import Subject, subjects
from .verdict import Kernels, Verdict, Verified

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Wanted(Request):
    """The programs that are verified: of each of the modes what the request says, with small sizes for all symbols.

    arch: the GPU for which kernels are written that the interpreter runs; else they have blocks for the interpreter.
    safety: what the likely error is multiplied by. budget: seconds for a smaller net that fails, 0 for none.
    """

    modes: tuple[Mode, ...] = ("train", "test")
    safety: float = 4.0
    budget: float = 60.0

    @property
    def arithmetic(self) -> Arithmetic:
        filtered = TARGETS[self.target].winograd and not self.numbers.direct
        return Arithmetic(self.safety, self.numbers.tf32, filtered)


def verify(file: str | Path | Source, wanted: Wanted | None = None, notify: Notify | None = None) -> Verdict:
    """Verify the programs of a net; raises SourceErrors and UserError for what a user did wrong.

    notify: told what is being done.
    """
    wanted, tell = wanted or Wanted(), notify or (lambda _: None)
    try:
        source = file if isinstance(file, Source) else read_source(file)
    except SourceError as error:
        raise SourceErrors([error]) from None
    programs: list[Verified] = []
    made = None
    modes: dict[int, Mode] = {}
    for mode in wanted.modes:
        made = _compilation(source, wanted, mode)
        if not made.net.graph.outputs:
            continue
        for subject in subjects(made, wanted.seed or 0):
            programs.append(_verified(subject, wanted, tell))
            modes.update({id(fault): mode for fault in programs[-1].faults})
    if made is None or not programs:
        raise UserError(f"{source.path}: the net has no losses, metrics or outputs to verify")
    verdict = Verdict(
        made.net.name, wanted.target, wanted.device, made.net.dims, wanted.seed or 0, wanted.arithmetic, tuple(programs)
    )
    fault = verdict.suspect
    if fault is None or wanted.budget <= 0 or is_prototxt(source):  # parts of a .net are left out, one after the other
        return verdict
    mode = modes[id(fault)]
    smaller = reduced(source.text, lambda text: _fails(source.path, text, wanted, mode, fault), wanted.budget, tell)
    return replace(verdict, reduced=smaller)


def _compilation(source: Source, wanted: Wanted, mode: Mode) -> Compilation:
    """The compilation of one mode, with small sizes for the symbols that nobody gave."""
    experiment = load(source, settings=wanted.settings, dims=wanted.dims, reading=wanted.reading)
    sizes = checked_sizes(experiment.net(wanted.net or experiment.default_net()))
    return Compilation(experiment, replace(wanted, mode=mode, dims={**sizes, **wanted.dims}, update=None)).alone()


def _verified(subject: Subject, wanted: Wanted, tell: Notify) -> Verified:
    """All checks of one program."""
    arithmetic, made, title = wanted.arithmetic, subject.made, f"{subject.made.net.name}, {subject.title}"
    tell(f"{title}: passes")
    faults: list[Fault] = [explained(subject, fault) for fault in pass_faults(subject.stages, subject.feeds)]
    kernels: list[Kernels] = []
    proved: list[Proved] = []
    for how in (FUSED, UNFUSED):
        tell(f"{title}: kernels, {how}")
        try:
            checked = _kernels(subject, how, arithmetic)
            runs = [checked.results]
            if how == FUSED:
                tell(f"{title}: memory")
                runs.append(run_alone(subject, subject.final, how))
        except Crashed as error:
            faults.append(error.crash)
            continue
        faults += checked.faults
        worst = max((one.ratio for one in checked.kernels), default=0.0)
        kernels.append(Kernels(how, len(checked.kernels), worst, sum(one.flips for one in checked.kernels)))
        proved.append(Proved(how, runs[-1].proved))
        faults += memory_faults(runs[-1], checked.results, how)
        faults += replay_faults(how, runs)
    layers: list[Compared] = []
    try:
        if not any(isinstance(fault, Crash | ProofFault) for fault in faults):
            tell(f"{title}: layers")
            layers = check_layers(subject, arithmetic)
            if not faults and not all(one.ok for one in layers):
                faults += faults_with_taps(subject, arithmetic)
    except Crashed as error:
        faults.append(error.crash)
    tell(f"{title}: derivatives")
    beside = slopes(subject)
    faults += beside.faults if beside is not None else ()
    rows = tuple(row.name for row in made.net.layers)
    passes = tuple([*subject.stages][1:])
    return Verified(subject.title, rows, passes, tuple(kernels), tuple(proved), tuple(layers), tuple(faults), beside)


def _kernels(subject: Subject, how: str, arithmetic: Arithmetic) -> Checked:
    made = subject.made.unfused() if how == UNFUSED else subject.made
    return check_kernels(subject, made, subject.final, arithmetic, how)


def _fails(path: str, text: str, wanted: Wanted, mode: Mode, fault: Fault) -> bool:
    """Whether a text shows the same fault. Whatever else is wrong with it, it is no smaller case of this one."""
    try:
        made = _compilation(Source(path, text), _fitting(Source(path, text), wanted), mode)
        for subject in subjects(made, wanted.seed or 0):
            if isinstance(fault, SlopeFault):
                beside = slopes(subject)
                if beside is not None and beside.faults:
                    return True
                continue
            if isinstance(fault, PassFault):
                if any(found.name == fault.name for found in pass_faults(subject.stages, subject.feeds)):
                    return True
                continue
            if fault.program == TAPPED:
                found = check_kernels(subject, made, subject.tapped.final, wanted.arithmetic, TAPPED)
            else:
                found = _kernels(subject, fault.program, wanted.arithmetic)
            if isinstance(fault, KernelFault):
                if any(one.kind == fault.kind for one in found.faults if isinstance(one, KernelFault)):
                    return True
                continue
            alone = run_alone(subject, subject.final, FUSED)
            if isinstance(fault, ReplayFault):
                if replay_faults(fault.program, [found.results, alone]):
                    return True
                continue
            if isinstance(fault, MemoryFault) and any(memory_faults(alone, found.results, fault.program)):
                return True
    except Crashed as error:
        return error.crash.like(fault)
    except Exception:  # a candidate may be nonsense in any way, and a compiler with a fault may trip over it
        return False
    return False


def _fitting(source: Source, wanted: Wanted) -> Wanted:
    """The dimensions of those given that a text still has."""
    experiment = load(source, settings=wanted.settings, reading=wanted.reading)
    entry = experiment.net(wanted.net or experiment.default_net())
    found = symbols(entry.definition.body, {*entry.module.consts, *entry.formals})
    return replace(wanted, dims={name: size for name, size in wanted.dims.items() if name in found})
