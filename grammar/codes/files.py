"""E4xx: imports, files, data and train."""

from __future__ import annotations

from .entry import Code

FILES: dict[str, Code] = {
    "E401": Code(
        "an import that cannot be read",
        """
        The path of an import is relative to the file that it stands in. It names a `.net` file.
        """,
    ),
    "E402": Code(
        "files that import each other",
        """
        A file cannot import itself, directly or through others. Move what both need to a third file.
        """,
    ),
    "E410": Code(
        "no such data source",
        """
        `data NAME = source(…)` names one of the sources that netc reads; `netc data` lists them.
        """,
    ),
    "E411": Code(
        "data without a source",
        """
        What stands after `data NAME =` is the call of a source: `data digits = mnist(split: train, batch: 64)`.
        """,
    ),
    "E420": Code(
        "no such net",
        """
        `train NET { … }` names a net of this file or of one that it imports.
        """,
    ),
    "E421": Code(
        "no such key",
        """
        A `train` block has the keys from, test, solver, schedule, steps, display, snapshot, clip, accumulate, seed,
        weights, fresh and average. Those of the solver stand in its brackets: `solver: sgd(lr: 0.01, momentum: 0.9)`.
        """,
    ),
    "E422": Code(
        "a key is missing",
        """
        Training needs data (`from`), a `solver`, and a number of `steps`. The other keys of a `train` block have
        defaults.
        """,
    ),
    "E423": Code(
        "a value that a key does not take",
        """
        `steps`, `accumulate` and `seed` are whole numbers, `clip` a number above 0, `display` and `snapshot` a
        period: `every 500`, `average` a number of steps. `from` and `test` name data, `weights` a file, `fresh` layers.
        """,
    ),
    "E424": Code(
        "no such data",
        """
        `from` and `test` name what `data NAME = …` defines, in this file or in one that it imports.
        """,
    ),
    "E425": Code(
        "an input without data",
        """
        Columns of data go to the inputs of their name, and each input that the losses and metrics read needs one.

            data pairs = lmdb("pairs", batch: 64, columns: [pair, sim])
        """,
    ),
    "E426": Code(
        "two columns of one name",
        """
        With `from: [a, b]` the columns of both stand side by side; one that an input wants may be there only once.
        """,
    ),
    "E427": Code(
        "batches of two sizes",
        """
        Data whose columns stand side by side give the same number of records in each batch.
        """,
    ),
    "E428": Code(
        "records of another shape",
        """
        An input has the shape of a record after its first dimension, which counts the records of a batch: an image
        of MNIST is f32[N, 1, 28, 28].
        """,
    ),
    "E429": Code(
        "no such layer to begin afresh",
        """
        `fresh` lists layers of the net that need not be in the weights' file, because they are new or have another
        shape.
        """,
    ),
    "E430": Code(
        "a net that cannot learn",
        """
        Training makes the losses of a net small, so the net of a `train` block has one, also in training mode.

            loss nll = softmax_loss(scores, label)
        """,
    ),
    "E431": Code(
        "Python that may not run",
        """
        `host("module:name", x)` calls a function or a class in Python. A .net file runs no code by itself, so commands
        refuse it, unless they are told that the file and what it names are to be trusted:

            netc train spots.net --allow-python

        and in Python `netc.compile("spots.net", allow_python=True)`. What `netc.host_layer` made needs no permission,
        once your script has imported the module that it is in.
        """,
    ),
    "E432": Code(
        "Python that cannot be had",
        """
        `host("module:name", x)` imports the module, looked for in the folder of the .net file first, and takes the name
        out of it: what `netc.host_layer` made, or a class, which is made with `settings` as its one argument (with none
        where there are none) and has a method `forward`.
        """,
    ),
    "E440": Code(
        "data that cannot be used",
        """
        The files that a `data` names are damaged, hold something else than its source reads, or have no column that
        fits an input of the net. The place is that of the source; the message names the file.
        """,
    ),
    "E441": Code(
        "weights that cannot be used",
        """
        A file of `weights` is damaged, of a kind that netc does not read, or lacks layers of the net, or has them in
        other shapes. Layers that are called otherwise there are given their names by `rename`, and those that shall
        begin anew stand in `fresh`:

            weights: "vgg16.caffemodel"
            rename: ["conv1_1=stem"]
            fresh: [fc8]
        """,
    ),
}
