"""How C writes each pointwise primitive: one line of the table each; and the functions that these lines call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ...graph import Node
from ...ops.source import splat
from ..loops.place import Value
from ..loops.pointwise import COMMON, Spelling, call, ready, roots

if TYPE_CHECKING:
    from ..loops.body import Body

# What a value is called that would else hide a function or a keyword of C.
RENAMED = {
    "exp": "e",
    "log": "ln",
    "sqrt": "root",
    "tanh": "bent",
    "floor": "whole",
    "abs": "size",
    "pow": "raised",
    "max": "larger",
    "min": "smaller",
}
EXTREMES = """
/* The {0} of two numbers; NaN where one of them is that. */
static inline {type} {name}({type} a, {type} b) {{ return (b {sign} a) | (b != b) ? b : a; }}
"""
HELPERS = {
    "from_bf16": """
static inline float from_bf16(uint16_t x) {
    const uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}
""",
    "to_bf16": """
/* To the nearest, of two equally near to the even one; NaN stays NaN. */
static inline uint16_t to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return x != x ? (bits >> 16) | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
""",
    "random_bits": """
/* Number i of a stream of random u32: Philox4x64-10 (Salmon et al., 2011), eight to a block, low halves first.
   The key is (seed, 0), the counter of block b is (1 + b, step, stream, 0). */
static inline uint32_t random_bits(uint64_t seed, uint64_t step, uint64_t stream, int64_t i) {
    uint64_t a = i / 8 + 1, b = step, c = stream, d = 0, k = seed, l = 0;
    for (int round = 0; round < 10; round++) {
        const unsigned __int128 p = (unsigned __int128)0xD2E7470EE14C6C93 * a;
        const unsigned __int128 q = (unsigned __int128)0xCA5A826395121157 * c;
        a = (uint64_t)(q >> 64) ^ b ^ k;
        b = (uint64_t)q;
        c = (uint64_t)(p >> 64) ^ d ^ l;
        d = (uint64_t)p;
        k += 0x9E3779B97F4A7C15;
        l += 0xBB67AE8584CAA73B;
    }
    const uint64_t both = i % 8 < 4 ? (i % 4 < 2 ? a : b) : (i % 4 < 2 ? c : d);
    return (uint32_t)(i % 2 ? both >> 32 : both);
}
""",
}
# Without branches and calls, so that loops over them become vectors.
HELPERS["exp_f32"] = """
/* 2^n e^r, of which r is at most half of log 2, by a polynomial (Cephes); n stands in the last bits of x / log 2
   and a large number. Below -104 it is 0, above 89 infinite, of NaN NaN. */
static inline float exp_f32(float x) {
    const float bounded = x > 89.0f ? 89.0f : x < -104.0f ? -104.0f : x;
    const float shifted = bounded * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
    const float r = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * (r * r) + r + 1.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, 4);
    /* In two factors: one alone may be too large, or too small. */
    const int32_t whole = (int32_t)(bits - 0x4b400000u), half = whole >> 1;
    const uint32_t first = ((uint32_t)half + 127) << 23, second = ((uint32_t)(whole - half) + 127) << 23;
    float a, b;
    memcpy(&a, &first, 4);
    memcpy(&b, &second, 4);
    return y * a * b;
}
"""
HELPERS["tanh_f32"] = """
static inline float tanh_f32(float x) {
    const float z = x * x, size = fabsf(x);
    float near = -5.70498872745e-3f;
    near = near * z + 2.06390887954e-2f;
    near = near * z - 5.37397155531e-2f;
    near = near * z + 1.33314422036e-1f;
    near = near * z - 3.33332819422e-1f;
    near = near * z * x + x;
    const float far = 1.0f - 2.0f / (exp_f32(2.0f * size) + 1.0f);
    return size < 0.625f ? near : x < 0.0f ? -far : far;
}
"""
KINDS = {"f32": "float", "f64": "double", "i32": "int32_t", "i64": "int64_t", "u32": "uint32_t", "u8": "uint8_t"}
for _dtype, _type in KINDS.items():
    for _word, _sign in (("larger", ">"), ("smaller", "<")):
        HELPERS[f"{_word}_{_dtype}"] = EXTREMES.format(_word, type=_type, name=f"{_word}_{_dtype}", sign=_sign)


def helpers(texts: Iterable[str]) -> Iterator[str]:
    """The functions that texts call, each once."""
    called = {name for text in texts for name in re.findall(r"\b(\w+)\(", text)}
    if "tanh_f32" in called:
        called.add("exp_f32")
    for name, text in HELPERS.items():
        if name in called:
            yield text.strip("\n")


def function(name: str) -> Spelling:
    """A function of `math.h`, in the type of its operands; in f32 our own where there is one."""

    def spell(body: Body, node: Node, values: Sequence[Value]) -> Value:
        operands, axes, level = ready(body, values)
        dtype = operands[0].dtype
        called = name if dtype == "f64" else f"{name}f"
        if dtype == "f32" and f"{name}_f32" in HELPERS:
            called = f"{name}_f32"
        text = f"{called}({', '.join(v.text for v in operands)})"
        return Value(text, dtype, axes, level, hint=node.op.name)

    return spell


def _extreme(word: str, logical: str) -> Spelling:
    """The larger or the smaller of two; of true and false by an operator."""

    def spell(body: Body, node: Node, values: Sequence[Value]) -> Value:
        return call(f"{word}_{ready(body, values)[0][0].dtype}({{0}}, {{1}})", logical)(body, node, values)

    return spell


def _abs(body: Body, node: Node, values: Sequence[Value]) -> Value:
    (x,), axes, level = ready(body, values)
    if x.dtype in ("f32", "f64"):
        return function("fabs")(body, node, values)
    text = f"{'llabs' if x.dtype == 'i64' else 'abs'}({x.text})" if x.dtype[0] == "i" else x.text
    return Value(text, x.dtype, axes, level)


def _power(body: Body, node: Node, values: Sequence[Value]) -> Value:
    (x, _), axes, level = ready(body, values)
    exponent = splat(node.inputs[1])
    if exponent == 0.0:
        return body.number(1.0, node.dtype)
    if exponent is not None and values[0].number is None:
        x = body.settle(x, "base")
        root = "sqrt({0})" if x.dtype == "f64" else "sqrtf({0})"
        found = roots(exponent, x.text, root, body.number(1.0, x.dtype).text)
        if found is not None:
            return Value(found[0], x.dtype, axes, level, found[1], hint="pow")
    return function("pow")(body, node, (x, values[1]))


SPELL: dict[str, Spelling] = {
    **COMMON,
    "max": _extreme("larger", "{0} | {1}"),
    "min": _extreme("smaller", "{0} & {1}"),
    "pow": _power,
    "exp": function("exp"),
    "log": function("log"),
    "sqrt": function("sqrt"),
    "tanh": function("tanh"),
    "floor": function("floor"),
    "abs": _abs,
}
