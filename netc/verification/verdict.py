"""Reports of verification: what it found, as objects, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from ..compiler.ops.rounding import UNITS, Arithmetic
from ..report.tables import Table
from .check import UNFUSED, Fault, KernelFault, PassFault
from .compare import PASS_TOLERANCE, Compared
from .crash import Crash
from .derivatives import SlopeFault, Slopes
from .proved import ProofFault, Proved, ReplayFault


@dataclass(frozen=True)
class Kernels:
    """The kernels of a program, compared: how many results, the worst ratio to a budget, the flips."""

    program: str
    results: int
    worst: float
    flips: int


@dataclass(frozen=True)
class Verified:
    """One program of a net. layers: every value, gradient and state by layer; rows: the layers in their order."""

    title: str
    rows: tuple[str, ...]
    passes: tuple[str, ...]
    kernels: tuple[Kernels, ...]
    proved: tuple[Proved, ...]
    layers: tuple[Compared, ...]
    faults: tuple[Fault, ...]
    slopes: Slopes | None = None

    @property
    def moved(self) -> list[Compared]:
        """Values beyond their budget although every station is right: a law of algebra moved a rounding."""
        return [] if self.faults else [one for one in self.layers if not one.ok]

    def table(self, title: str) -> Table:
        """A row for each layer."""
        rows = []
        names = [*self.rows, *dict.fromkeys(one.layer for one in self.layers if one.layer not in self.rows)]
        for name in names:
            forward = [one for one in self.layers if one.layer == name and one.kind == "value"]
            backward = [one for one in self.layers if one.layer == name and one.kind in ("gradient", "state")]
            if forward or backward:
                flips = sum(one.flips for one in (*forward, *backward))
                rows.append([name or "(state)", *_cells(forward), *_cells(backward), str(flips) if flips else ""])
        head = ["layer", ">forward error", ">budget", ">share", ">backward error", ">budget", ">share", ">flips"]
        return Table(title, head, rows)

    def lines(self) -> Iterator[str]:
        """What was checked, in sentences."""
        wrong = next((fault.name for fault in self.faults if isinstance(fault, PassFault)), "")
        kept = self.passes[: self.passes.index(wrong)] if wrong in self.passes else self.passes
        if kept:
            yield f"passes: {', '.join(kept)}: values stay within {PASS_TOLERANCE:g} in float64"
        for one in self.kernels:
            flips = f", {one.flips} flips" if one.flips else ""
            share = f"the worst at {_share(one.worst)} of its budget{flips}"
            yield f"kernels, {one.program}: {one.results} results, {share}"
        yield from map(str, self.proved)
        if self.slopes is not None:
            yield str(self.slopes)
        for moved in self.moved:
            yield f"note: {moved.name} of {moved.layer} is beyond its budget, yet every pass and kernel is right:"
            yield "    a law of algebra moved a rounding across the layer's border"
        for fault in self.faults:
            yield f"WRONG: {fault}"


@dataclass(frozen=True)
class Verdict:
    """What `netc verify` says of a net. reduced: a smaller net that still fails, where one was looked for."""

    net: str
    target: str
    device: str
    dims: Mapping[str, int]
    seed: int
    arithmetic: Arithmetic
    programs: tuple[Verified, ...]
    reduced: str | None = None

    @property
    def ok(self) -> bool:
        return not self.faults

    @property
    def faults(self) -> list[Fault]:
        return [fault for program in self.programs for fault in program.faults]

    @property
    def suspect(self) -> Fault | None:
        """The fault that says most: a pass before a kernel, since kernels follow; a kernel of one op before others."""
        ranked = sorted(self.faults, key=lambda f: (not isinstance(f, PassFault), getattr(f, "program", "") != UNFUSED))
        return ranked[0] if ranked else None

    def show(self, echo: Any) -> None:
        """Print tables and sentences."""
        sizes = ", ".join(f"{name}={int(size)}" for name, size in self.dims.items())
        for program in self.programs:
            of = f"{self.net}: {program.title}{f', {sizes}' if sizes else ''}, {self.target} on {self.device}"
            echo(str(program.table(of)))
            for line in program.lines():
                echo(line)
            echo("")
        echo(
            f"budget: {self.arithmetic.safety:g} times the error that rounding makes likely, by running error analysis"
        )
        products = ", products in TF32" if self.arithmetic.tf32 else ""
        used = {one.type.split("[")[0] for program in self.programs for one in program.layers}
        units = ", ".join(f"{unit:.1e} for {name}" for name, unit in UNITS.items() if name in used)
        echo(f"    with u = {units}{products}; seed {self.seed}")
        if self.ok:
            echo(f"{self.net} is right: everything lies within its budget")
            return
        count = len(self.faults)
        echo(f"{self.net} is WRONG: {count} fault{'s' if count > 1 else ''} found; look first at this: {self.suspect}")

    def __str__(self) -> str:
        lines: list[str] = []
        self.show(lines.append)
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        tables = "".join(program.table(f"{self.net}: {program.title}").html() for program in self.programs)
        what = "right" if self.ok else f"WRONG: {self.suspect}"
        return f"{tables}<p>{escape(f'{self.net} is {what}')}</p>"

    def as_dict(self) -> dict[str, Any]:
        """The form of `netc verify --json`."""
        return {
            "net": self.net,
            "target": self.target,
            "device": self.device,
            "dims": {name: int(size) for name, size in self.dims.items()},
            "seed": self.seed,
            "safety": self.arithmetic.safety,
            "tf32": self.arithmetic.tf32,
            "units": dict(UNITS),
            "ok": self.ok,
            "programs": [
                {
                    "title": program.title,
                    "passes": list(program.passes),
                    "kernels": [vars_of(one) for one in program.kernels],
                    "proved": [{"program": one.program, **asdict(one.of)} for one in program.proved],
                    "layers": [one.as_dict() for one in program.layers],
                    "moved": [one.name for one in program.moved],
                    "faults": [fault_dict(fault) for fault in program.faults],
                }
                for program in self.programs
            ],
            "reduced": self.reduced,
        }


def vars_of(one: Kernels) -> dict[str, Any]:
    return {"program": one.program, "results": one.results, "worst": one.worst, "flips": one.flips}


def fault_dict(fault: Fault) -> dict[str, Any]:
    """A fault for JSON: what is wrong, which part, which layers, and the sentence."""
    found: dict[str, Any] = {"message": str(fault)}
    if isinstance(fault, PassFault):
        found |= {"station": "pass", "name": fault.name, "layers": [fault.layer], "laws": list(fault.laws)}
    elif isinstance(fault, KernelFault):
        found |= {"station": "kernel", "name": fault.function, "kind": fault.kind, "layers": list(fault.layers)}
        found |= {"program": fault.program, "worst": fault.worst.as_dict()}
    elif isinstance(fault, ProofFault | ReplayFault | Crash | SlopeFault):
        found |= fault.as_dict()
    else:
        found |= {"station": "memory", "name": fault.name, "layers": [], "program": fault.program}
    return found


def _share(ratio: float) -> str:
    return f"{100 * ratio:.0f} %" if ratio < 100 else f"{ratio:.1e} times"


def _cells(found: Sequence[Compared]) -> list[str]:
    """Error, budget and share of the value that uses most of its budget."""
    if not found:
        return ["", "", ""]
    worst = max(found, key=lambda one: (one.wrong > 0, one.ratio))
    return [f"{worst.error:.1e}", f"{worst.budget:.1e}", _share(worst.ratio) + ("" if worst.ok else " WRONG")]
