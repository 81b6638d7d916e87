"""E5xx: limits on the size of a file and on what it may expand to."""

from __future__ import annotations

from .entry import Code

LIMITS: dict[str, Code] = {
    "E501": Code(
        "nested too deep",
        """
        Brackets, expressions and bodies may be nested 100 deep; a sum of 100 terms counts as 100, since each `+`
        takes the sum before it. Bind a part to a name.

            a = x1 + x2 + x3
            b = a + x4 + x5
        """,
    ),
    "E502": Code(
        "a file too large",
        """
        A .net file has at most 500,000 characters. A net of that size is better said with blocks and loops; parts
        of it can stand in other files: `import "blocks.net"`.
        """,
    ),
    "E510": Code(
        "a loop too long",
        """
        A loop is unrolled when the net is built, so it has at most 10,000 turns.
        """,
    ),
    "E511": Code(
        "a net too large",
        """
        A net has at most 20,000 layers (operations between tensors count) of 200,000 nodes, and as many expressions
        are evaluated to build it. Loops in loops and blocks that use blocks multiply.
        """,
    ),
    "E512": Code(
        "blocks nested too deep",
        """
        Blocks and ops may use each other 64 deep. A chain of more is better said with a loop, or with one block
        that does what several did.
        """,
    ),
    "E513": Code(
        "too many imports",
        """
        A file may bring in 200 files, 32 imports deep, of 8,000,000 characters together.
        """,
    ),
    "E514": Code(
        "a tensor too large",
        """
        A tensor has at most 2 ** 31 - 1 elements and 32 axes, as in Caffe. The error names the one that is larger.
        """,
    ),
    "E515": Code(
        "a constant too large",
        """
        Whole numbers go up to 2 ** 63 - 1, numbers up to about 1.8e308; a text has at most 10,000 characters and a
        list 10,000 items.
        """,
    ),
    "E516": Code(
        "the text of a graph too large",
        """
        The text of a graph has at most 32,000,000 characters, a line of it 100,000 words, and values in it are nested
        at most 20 deep: far more than the training step of a net of a thousand layers.
        """,
    ),
}
