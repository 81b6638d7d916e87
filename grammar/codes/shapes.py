"""E3xx: types and shapes, and constants."""

from __future__ import annotations

from .entry import Code

SHAPES: dict[str, Code] = {
    "E301": Code(
        "arithmetic on no numbers",
        """
        Constants that are calculated with or ordered are numbers. Texts, booleans and lists can only be compared
        with `==` and `!=`.
        """,
    ),
    "E302": Code(
        "a calculation without a result",
        """
        A division by zero, a root or logarithm of a negative number: the result is no finite number.
        """,
    ),
    "E303": Code(
        "a condition that is none",
        """
        The condition of an `if` is known when the net is built: a comparison of constants, true or false, or the
        mode `train`. To choose between two values element by element, use `where(condition, a, b)`.
        """,
    ),
    "E304": Code(
        "nothing to loop over",
        """
        A loop runs over a range of whole numbers, both ends included, or over the items of a list.

            for i in 1..3 { x = x |> stage(16 * i) }
            for c in [16, 32] { x = x |> stage(c) }
        """,
    ),
    "E305": Code(
        "a dimension that is none",
        """
        A dimension is a whole number from 1 up, computed from constants or not, or a capitalized word such as `N`,
        whose value is given when the net is compiled.
        """,
    ),
    "E306": Code(
        "no such element type",
        """
        There are f32, f64, f16, bf16, i32, i64, u8 and bool. What is learned is a floating-point number.
        """,
    ),
    "E310": Code(
        "a layer that does not fit its input",
        """
        The sizes or types of a layer's operands do not go with its settings. The notes show each operand's type,
        and by which layers its size came about: `28 -> conv 5 -> 24 -> max_pool 2 -> 12`.

            c3 = p2 |> conv(64, 5)             # wrong where p2 is 4 x 4
            c3 = p2 |> conv(64, 5, pad: 2)
        """,
    ),
    "E311": Code(
        "operands that do not go together",
        """
        Tensors in arithmetic have one element type, and shapes that broadcast as in numpy: counted from the last
        axis, sizes are equal or one of them is 1.
        """,
    ),
    "E312": Code(
        "a loss that is no number",
        """
        A loss is one floating-point number, so that it can be made small. `sum` or `mean` a tensor first.

            loss l = abs(a - b)                # wrong
            loss l = mean(abs(a - b))
        """,
    ),
    "E314": Code(
        "a dimension without a value",
        """
        A net is compiled for sizes that are known. Each capitalized dimension is given by `--dim T=20` (`--batch
        64` sets `N`), or by `dims={"T": 20}` in Python.
        """,
    ),
    "E315": Code(
        "a tensor or a constant in the other's place",
        """
        Settings, conditions, dimensions and lists are constants, known when the net is built; losses, metrics and
        outputs are tensors. Arithmetic takes tensors and numbers, no texts and no booleans.
        """,
    ),
    "E316": Code(
        "a parameter of another type than f32",
        """
        Learned parameters are f32, whatever the inputs are: a layer whose input is f64, f16 or bf16 would make its
        parameters of that type. Cast the input first.

            input x: f64[N, 4]
            y = x |> linear(2)                  # wrong
            y = cast(x, f32) |> linear(2)
        """,
    ),
    "E317": Code(
        "an ill-typed node in the text of a graph",
        """
        Each node's operands and attributes must fit the type rule of its op, and the type before the `=` is the one
        that the rule gives. The error says what the rule does not accept.
        """,
    ),
}
