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
    "W604": Code(
        "a field that was passed over",
        """
        With `--lenient` a field of a prototxt that Caffe does not have says nothing. The net is computed without it.
        """,
    ),
    "W605": Code(
        "a layer that nobody here knows",
        """
        A layer of a fork of Caffe's, or of a user, that reads no blob brings data. Its tops are inputs, which
        have to be fed.
        """,
    ),
    "W606": Code(
        "a shape that lies in the data",
        """
        What a data layer of Caffe's brings often has a shape that only its data have. A usual one is assumed, with `C`,
        `H` and `W` for what is not known: `--dim C=3` says these, `--shape label=1x1x300x400` a whole shape.
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
    "W608": Code(
        "a file that is not here",
        """
        `netc check` looks for the data and the weights that a file names, and one of them is not on this machine. The
        text may be right all the same: with `--no-files` nothing is looked for, with `--strict` it is an error.
        """,
    ),
    "W609": Code(
        "a file that defines nothing",
        """
        There is no net, op, block, constant, data or `train` in the file, so no command can do anything with it.
        """,
    ),
    "W610": Code(
        "a layer that would write a file",
        """
        `HDF5Output` writes what it reads into the file that it names. Commands of netc write no file because a net says
        so: the layer reads its blobs, and that is all. `netc run FILE --output ip -o out.h5` writes values of a net; a
        script of pycaffe's runs the layer as Caffe does.
        """,
    ),
}
