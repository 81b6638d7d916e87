"""A proof obligation that could not be discharged: an error of netc's own, never of the net that is compiled."""

from __future__ import annotations


class Unproved(Exception):
    """What cannot be shown of a generated program, and of which kernel.

    kind: order (values in time), overlap (values in space), bounds, race, complete. told: what is wrong, in words.
    layers, places: of the kernel, empty where none is meant. command: makes the same program, if it is known.
    """

    def __init__(self, kind: str, told: str, layers: tuple[str, ...] = (), places: tuple[str, ...] = ()) -> None:
        super().__init__(kind, told, layers, places)
        self.kind, self.told, self.layers, self.places = kind, told, layers, places
        self.command = ""

    def __str__(self) -> str:
        of = f" of {', '.join(self.layers)}" if self.layers else ""
        where = f" ({', '.join(self.places)})" if self.places else ""
        kernel = f"the kernel{of}{where}: " if of or where else ""
        repeat = f", which `{self.command}` shows" if self.command else ""
        return f"{kernel}{self.told}; this is a fault of netc ({self.kind}), not of the net{repeat}"
