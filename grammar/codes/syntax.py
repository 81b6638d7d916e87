"""E1xx: syntax."""

from __future__ import annotations

from .entry import Code

SYNTAX: dict[str, Code] = {
    "E101": Code(
        "does not fit here",
        """
        The text is not a form of the language. The caret stands under the first word or sign that cannot follow
        what is before it; the hint names what could.

            input x f32[N, 4]      # wrong: a `:` is missing
            input x: f32[N, 4]
        """,
    ),
    "E102": Code(
        "a character without a meaning",
        """
        A .net is UTF-8 text. Outside strings and comments it is made of a-z, A-Z, 0-9, _ and the signs `+ - * /
        ** < > <= >= == != = : , . .. ( ) [ ] { } |> @ # "`. Characters that come from other programs, such as
        curly quotes, long dashes and no-break spaces, look like these but are others. Comments begin with `#`.
        """,
    ),
    "E103": Code(
        "a string that is none",
        """
        A string stands in double quotes on one line. There are no escapes: a backslash is a backslash.

            import 'blocks.net'    # wrong
            import "blocks.net"
        """,
    ),
    "E104": Code(
        "a number that is none",
        """
        Numbers are decimal: `64`, `0.5`, `.5`, `1e-3`. A number has digits after its point, since `1..3` is a
        range. Whole numbers go up to 2 ** 63 - 1.

            scale = 1. / 256       # wrong
            scale = 1.0 / 256
        """,
    ),
    "E105": Code(
        "a word of the language as a name",
        """
        These words are never names: `as block const else false for if import in net none op return true`. The
        words that open a statement (`input param loss metric output data train`) are names elsewhere.

            net = x |> relu        # wrong
            body = x |> relu
        """,
    ),
    "E106": Code(
        "a bracket is not closed",
        """
        Each `(`, `[` and `{` needs its other half. A missing `)` or `]` is noticed where the next statement
        begins, a missing `}` where a definition begins inside a body or where the file ends; the line of the
        opening bracket is named. The `{` of a body stands on the line that it belongs to.
        """,
    ),
    "E107": Code(
        "a closing bracket without its other half",
        """
        A `)`, `]` or `}` closes nothing, or closes a bracket of another kind.

            y = concat(a, [b, c))  # wrong
            y = concat(a, b, c)
        """,
    ),
    "E108": Code(
        "a line that ends too early",
        """
        A statement ends with its line, except inside `( )` and `[ ]`; and a line that begins with `|>` or
        `else` continues the one before.

            y = a +                # wrong
                b
            y = (a +
                b)
            y = x
                |> relu
        """,
    ),
    "E109": Code(
        "several statements on a line",
        """
        A statement ends with its line; `;` is no sign of the language. Only a body of one statement may stand
        on one line with its braces: `for i in 1..3 { x = x |> relu }`.
        """,
    ),
    "E110": Code(
        "an operator after a piped call",
        """
        A pipe binds loosest: `a + b |> relu` is `relu(a + b)`. What is computed with the result of a pipe needs
        the pipe in parentheses.

            y = x |> conv(16, 3) + x       # wrong
            y = (x |> conv(16, 3)) + x
        """,
    ),
    "E111": Code(
        "`=` for `:`, or the other way round",
        """
        `=` binds: values, constants, and the defaults of a block's or a net's parameters. `:` says what kind,
        or which: types, named arguments, settings. A comparison is `==`.

            y = conv(x, 20, kernel=5)      # wrong
            y = conv(x, 20, kernel: 5)
            block f(x, c: 8) { … }         # wrong
            block f(x, c = 8) { … }
        """,
    ),
    "E112": Code(
        "a statement's word is bound",
        """
        `input param loss metric output` open a statement in a net, so no plain bind begins with them there;
        they are names everywhere else.

            loss = softmax_loss(y, t)      # wrong
            loss nll = softmax_loss(y, t)
        """,
    ),
    "E113": Code(
        "indexing",
        """
        Tensors and lists are not indexed. `split` takes parts of a tensor, `for` goes through a list.

            a = x[0]               # wrong
            a, b = split(x, 2)
        """,
    ),
    "E114": Code(
        "a chain of comparisons",
        """
        A comparison has two sides: `a < b < c` does not say what it does in mathematics.

            y = where(0 < x < 1, x, 0)     # wrong
            y = where(0 < x, where(x < 1, x, 0), 0)
        """,
    ),
    "E115": Code(
        "and, or, not",
        """
        There are no `and`, `or`, `not` (nor `&&`, `||`, `!`). An `if` inside an `if` is both, `else if` is
        either; on tensors `where` chooses.

            if train and classes > 2 { … }      # wrong
            if train { if classes > 2 { … } }
        """,
    ),
    "E116": Code(
        "`as` without a call",
        """
        `as` names the call just before it, a layer or a block, and so its parameters. A value is named by
        binding it.

            y = x as score         # wrong
            y = x |> linear(10) as score
            score = x
        """,
    ),
    "E117": Code(
        "a form that other languages have",
        """
        The language has no `while`, no functions, no dictionaries, no `+=`: a net is expanded before it runs,
        so loops have a known length and every name has one meaning at a place.
        """,
    ),
    "E118": Code(
        "begins nothing here",
        """
        A line begins with a word that opens no statement. At the top of a file stand `import const op block net
        data train`; in a net or a block `input param loss metric output for if return` and `NAME = …`; in a
        train `NAME: VALUE`.
        """,
    ),
    "E119": Code(
        "a directive without its statement",
        """
        A directive (`@nofuse`, `@recompute`, `@dtype(bf16)`) stands before a statement of a net or a block, on
        its line or on the line before.

            @nofuse
            y = x |> relu
        """,
    ),
    "E120": Code(
        "a Caffe .prototxt",
        """
        The file reads like a Caffe model or solver. In a .net a layer is a call and a name is bound with `=`:

        net lenet {
            input data: f32[N, 1, 28, 28]
            conv1 = data |> conv(20, 5)
        }
        """,
    ),
    "E121": Code(
        "not the text of a graph",
        """
        `netc opt` reads the text that `netc show` prints: kernels first, then the graph, a node a line, each behind
        the nodes that it reads, and the results last.

            graph {
              %0: f32[2,3] = input(name='x', shape=(2, 3), dtype='f32')
              %1: f32[2,3] = neg(%0)
              return y = %1
            }
        """,
    ),
}
