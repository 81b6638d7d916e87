"""W6xx: warnings and notes."""

from __future__ import annotations

from .entry import Code

WARNINGS: dict[str, Code] = {
    "W601": Code(
        "a value nobody uses",
        """
        A name is bound and never read: perhaps another one was meant. A name that begins with `_` is not asked
        about.

            h, _last = two_results(x)
        """,
    ),
    "W602": Code(
        "your own definition is meant",
        """
        An op or a block has the name of a layer of netc. In this file the name means your own from its definition
        on; this is a note, no error.
        """,
    ),
    "W603": Code(
        "a directive that is not obeyed",
        """
        The directive is understood, but cannot be followed yet; the message gives the reason. The program computes
        the same values without it.
        """,
    ),
    "W607": Code(
        "two calls of one name",
        """
        `as` gives a call a name that another one has already, so a number follows it: `enc`, `enc.2`. Weight files go
        by these names.

            h = x |> linear(8) as enc |> linear(8) as enc     # the second is enc.2
            h = x |> linear(8) as enc |> linear(8) as out
        """,
    ),
}
