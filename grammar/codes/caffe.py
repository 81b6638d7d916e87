"""E7xx: Caffe's texts, nets and solvers."""

from __future__ import annotations

from .entry import Code

CAFFE: dict[str, Code] = {
    "E701": Code(
        "a text that is no prototxt",
        """
        The form of a prototxt is protobuf's text format: `name: value`, `name { … }`, texts in quotes, `#` before
        a comment. What breaks this form ends the reading, so it is the last mistake reported.
        """,
    ),
    "E702": Code(
        "a field that Caffe does not have",
        """
        Fields are those of BVLC Caffe's caffe.proto. Files of forks have others: `--lenient` passes over them with a
        warning each, which is right only where the field does not change what is computed.
        """,
    ),
    "E703": Code(
        "a value that a field does not take",
        """
        Each field has its type: a whole number (`int32`, or `uint32` from 0 up), a number, true or false, a text in
        quotes, or one of the words of an enumeration.

            pool: max          # wrong
            pool: MAX
        """,
    ),
    "E704": Code(
        "a field twice, or missing",
        """
        A field that is not repeated is given once; a few must be given.

            name: "a" name: "b"      # wrong
        """,
    ),
    "E705": Code(
        "an old format that cannot be upgraded",
        """
        Nets of older formats (`layers { layer { … } }`, `layers { type: RELU }`, `input` with `input_dim`) are read as
        Caffe does, by upgrading them; formats are not mixed, and padding layers stand before one conv or pool.
        """,
    ),
    "E706": Code(
        "rules of both kinds",
        """
        A layer has `include` rules, and is in the net where any of them is met, or `exclude` rules, and is left out
        where any of them is met.
        """,
    ),
    "E710": Code(
        "no such type of layer",
        """
        Types of layers are written as Caffe writes them, `InnerProduct`. Layers of forks and users are not known, but
        for `Python`, and for those that bring data.
        """,
    ),
    "E711": Code(
        "blobs that do not fit together",
        """
        A bottom is a blob that a layer above makes, in the same phase, level and stages. A blob is made by one layer,
        and changed in its place only by the one layer that reads it.
        """,
    ),
    "E712": Code(
        "bottoms and tops in another number",
        """
        Each type of layer takes its own number of bottoms and tops; a `loss_weight` or `propagate_down` stands for each
        of them, or for none.
        """,
    ),
    "E713": Code(
        "multipliers that do not fit",
        """
        `param` stands at most once for each parameter of a layer. What layers share by name has one `lr_mult` and one
        `decay_mult`; the statistics of a BatchNorm have `lr_mult: 0`.
        """,
    ),
    "E714": Code(
        "settings that do not go together",
        """
        A field is missing that the layer needs, or two fields say the same thing in two ways, such as `kernel_size` and
        `kernel_h`.
        """,
    ),
    "E720": Code(
        "a solver that says too little, or two things",
        """
        A solver names one net to train (`net`, or `train_net`), its `base_lr`, `lr_policy` with what that needs, and
        `max_iter`; of the nets to test each has a `test_iter`. Its type is one of Caffe's.
        """,
    ),
    "E721": Code(
        "a file that cannot be found",
        """
        Paths in a prototxt are relative to the folder where Caffe is started. They are looked for from the folder where
        netc is started, then from the folder of the prototxt and from those above it.
        """,
    ),
    "E730": Code(
        "what Caffe has no layer for",
        """
        `netc convert FILE.net -o FILE.prototxt` writes layers of BVLC Caffe's. What these do not compute is named with
        its place: comparisons, `where`, `transpose`, `matmul`, `layer_norm`, and ops of the net's own. A block becomes
        its layers; `--output` leaves out what the values that it names do not need; arithmetic takes numbers,
        and tensors of one shape.

            op double(x) = 2 * x                      # no layer
            block double(x) { return 2 * x }          # a Power
        """,
    ),
}
