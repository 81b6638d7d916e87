"""E2xx: names, settings and arguments."""

from __future__ import annotations

from .entry import Code

NAMES: dict[str, Code] = {
    "E201": Code(
        "no such setting",
        """
        A call, a filler, a solver or a data source has no setting of that name. The hint lists what it takes, and
        names ours where Caffe calls it otherwise.

            y = conv(x, num_output: 20, kernel: 5)     # wrong
            y = conv(x, out: 20, kernel: 5)
        """,
    ),
    "E202": Code(
        "a name without a value",
        """
        Nothing above binds this name: no input, no statement before, no parameter of the net, block or op, no
        constant. A name that a loop binds for itself ends with the loop, and one bound in a choice exists only
        where that choice is taken.

            y = relu(h)          # wrong where `h` is bound further down
        """,
    ),
    "E203": Code(
        "nothing of that name to call",
        """
        There is no layer, op or block of that name, or no filler, solver or schedule where one is wanted. Names of
        layers are in lower case with underscores; Caffe's types are understood in the hint.

            y = InnerProduct(x, 10)    # wrong
            y = linear(x, 10)
        """,
    ),
    "E204": Code(
        "something that a call needs is missing",
        """
        A parameter without a default was given no value.

            y = conv(x, 20)            # wrong: `kernel` is missing
            y = conv(x, 20, 5)
        """,
    ),
    "E205": Code(
        "an argument too many",
        """
        The call takes fewer arguments. Tensors come first, then the settings in the order in which the hint names
        them; settings of data, `param` and `loss` are always named.

            loss(0.3) aux = mean(x)            # wrong
            loss(weight: 0.3) aux = mean(x)
        """,
    ),
    "E206": Code(
        "a setting given twice",
        """
        The same setting stands twice in a call or a `train` block (where only `test` may), once perhaps by its
        place.

            y = conv(x, 20, 5, kernel: 3)      # wrong: 5 is the kernel already
        """,
    ),
    "E207": Code(
        "a value of another kind",
        """
        A setting wants another kind of value than it is given: a whole number, a number, true or false, a text, one
        of a few words, a list, a filler, a tensor. A whole number may be computed, as long as it comes out whole. Of
        some settings only a range of numbers makes sense, and the message names it. What is computed in f32, as all
        of a solver is, must be a number in f32 too: neither infinite, nor 0 in the place of a very small one.

            y = linear(x, 30 / 4)      # wrong: 7.5
            y = linear(x, 32 / 4)
        """,
    ),
    "E208": Code(
        "another number of results",
        """
        As many names are bound as a call gives results, and only a call with one result can stand in an expression
        or a pipe.

            a = split(x, 2)            # wrong
            a, b = split(x, 2)
        """,
    ),
    "E209": Code(
        "two definitions of one name",
        """
        Constants, functions (ops and blocks), nets, data, the inputs of a net, and the parameters of one definition
        each have a name of their own. What a file imports counts as defined in it.
        """,
    ),
    "E210": Code(
        "used before its end",
        """
        Ops and blocks use what is defined above them. So none uses itself, or one that uses it: there is no
        recursion.

            block a(x) { return b(x) }    # wrong: b stands below
            block b(x) { return relu(x) }
        """,
    ),
    "E211": Code(
        "no such layer or parameter",
        """
        `enc.weight` is a parameter of a layer that stands above in the same net or block, under the name that the
        layer has there. `netc summary` lists all names of a net.

            h = x |> linear(16) as enc
            loss l1 = sum(abs(enc.weight))
        """,
    ),
    "E212": Code(
        "a statement in the wrong place",
        """
        `return` is the last statement of a block and stands nowhere else; `input`, `loss`, `metric` and `output`
        are a net's.

            block f(x) { loss l = mean(x) }              # wrong
            block f(x) { return mean(x) }
        """,
    ),
    "E213": Code(
        "a directive that says nothing",
        """
        There are `@nofuse`, `@recompute` and `@dtype(bf16)`. They stand before a statement that computes something.
        """,
    ),
    "E214": Code(
        "not for an op",
        """
        An op is an elementwise or reducing expression: arithmetic, functions such as `exp` and `tanh`, `where`,
        `sum`, `mean`, `max`, and other ops. Layers with parameters and blocks belong in a block.

            op f(x) = relu(linear(x, 3))                 # wrong
            block f(x) { return x |> linear(3) |> relu }
        """,
    ),
    "E215": Code(
        "two roles of one name",
        """
        Each loss, metric and output of a net has a name of its own, since a run reports them by name. In a loop the
        name would be taken by the first turn.
        """,
    ),
    "E216": Code(
        "a name of the other kind",
        """
        Values and functions have separate names. A layer is called, a value is not; a net cannot be called at all.

            y = relu                   # wrong
            y = relu(x)
        """,
    ),
    "E217": Code(
        "a name that a layer cannot have",
        """
        `as` names a layer, an op or a block at its use. A text after it has letters, digits and marks, no blanks,
        and does not end with `.` or `/`. One that begins with `/` is the whole name, whatever stands around it. `{…}`
        is a constant, a text or a whole number. Nothing inside an op has a name, and neither has a filler.

            x = x |> conv(64, 3) as "res{i / 2}"         # wrong where i is 1
            x = x |> conv(64, 3) as "/res{i}_branch2a"
        """,
    ),
    "E218": Code(
        "multipliers that do not fit",
        """
        `lr` and `decay` multiply the rate and the decay of a layer's parameters: one number for all, or a list in
        the order of the parameters (weight, then bias).

            y = conv(x, 20, 5, lr: [1, 2, 3])            # wrong: two parameters
            y = conv(x, 20, 5, lr: [1, 2])
        """,
    ),
    "E219": Code(
        "nothing to share",
        """
        `share` names a layer above whose parameters are used again, or for a block another use of the same block.

            left = tower(a)
            right = tower(b, share: left)

        First values and multipliers are those of the layer that is named; they are not given again.
        """,
    ),
}
