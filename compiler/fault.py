"""Internal compiler errors: what netc itself did wrong, with what repeats it. No mistake of a user is one."""

from __future__ import annotations


class Fault(Exception):
    """What netc did wrong, in words (`told`).

    graph: the text of what it worked on, empty where there is none. command: makes it happen again, if it is known.
    """

    def __init__(self, told: str, graph: str = "") -> None:
        super().__init__(told)
        self.told = told
        self.graph = graph
        self.command = ""

    @property
    def repeat(self) -> str:
        """The end of a message: the command."""
        return f", which `{self.command}` shows" if self.command else ""

    def __str__(self) -> str:
        return f"{self.told}; this is a fault of netc, not of the net{self.repeat}"


class Unproved(Fault):
    """A proof obligation that could not be discharged: what cannot be shown of a program, and of which kernel.

    kind: order (values in time), overlap (values in space), bounds, race, complete. layers, places: of the kernel,
    empty where none is meant.
    """

    def __init__(self, kind: str, told: str, layers: tuple[str, ...] = (), places: tuple[str, ...] = ()) -> None:
        super().__init__(told)
        self.kind, self.layers, self.places = kind, layers, places

    def __str__(self) -> str:
        of = f" of {', '.join(self.layers)}" if self.layers else ""
        where = f" ({', '.join(self.places)})" if self.places else ""
        kernel = f"the kernel{of}{where}: " if of or where else ""
        return f"{kernel}{self.told}; this is a fault of netc ({self.kind}), not of the net{self.repeat}"
