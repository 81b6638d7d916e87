"""The register tile in vector extensions of gcc and clang: how wide vectors are, and what is done with them.

Every loop here is unrolled, so that sums stay in registers: `rows` and `vectors` are numbers wherever these functions
are called. `vec_8` and `vec_4` are for few columns. The second vector of a row lies `apart` from the first: less than a
vector where columns fill one and a part, so that both are summed in one tile; what they share is the same in both.
"""

from __future__ import annotations

from collections.abc import Iterator

HEAD = """
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#if defined(__AVX512F__) || defined(__aarch64__)
#define MOST_ROWS 14
#define SIDE 4
#define WIDE 6
#else
#define MOST_ROWS 6
#define SIDE 3
#define WIDE 3
#endif
#define MOST_COLUMNS 8
#define AT_MOST(n) (LANES < (n) ? LANES : (n))
/* n rows in as few tiles of at most `most` as there can be, all but the last alike. */
#define EVEN(n, most) (((n) + ((n) + (most) - 1) / (most) - 1) / (((n) + (most) - 1) / (most)))
"""
# What the head defines, for each kind of processor that it knows.
MACHINES = (
    {"LANES": 16, "MOST_ROWS": 14, "SIDE": 4, "WIDE": 6, "MOST_COLUMNS": 8},
    {"LANES": 8, "MOST_ROWS": 6, "SIDE": 3, "WIDE": 3, "MOST_COLUMNS": 8},
    {"LANES": 4, "MOST_ROWS": 14, "SIDE": 4, "WIDE": 6, "MOST_COLUMNS": 8},
    {"LANES": 4, "MOST_ROWS": 6, "SIDE": 3, "WIDE": 3, "MOST_COLUMNS": 8},
)
INLINE = "#define INLINE static inline __attribute__((always_inline))"
SPANS = """
/* The first i >= least with step * i >= low; and the first i behind those below n with step * i <= high. */
INLINE int32_t first_from(int32_t low, int32_t step, int32_t least) {
    const int32_t first = low > 0 ? (low + step - 1) / step : 0;
    return first > least ? first : least;
}

INLINE int32_t end_at(int32_t high, int32_t step, int32_t n) {
    const int32_t end = high < 0 ? 0 : high / step + 1;
    return end < n ? end : n;
}
"""
TILE = """
#define LANES_{width} AT_MOST({width})
typedef float vec_{width} __attribute__((vector_size(4 * LANES_{width}), aligned(4), may_alias));

INLINE void clear_{width}(int rows, int vectors, vec_{width} sums[MOST_ROWS][2]) {{
    _Pragma("GCC unroll 14")
    for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 2")
        for (int v = 0; v < vectors; v++) sums[r][v] = (vec_{width}){{0}};
}}

/* Add the product of a number for each row, `step` apart, and vectors. */
INLINE void multiply_{width}(
    int rows, int vectors, int apart, vec_{width} sums[MOST_ROWS][2], const float *numbers, int64_t step,
    const float *from
) {{
    vec_{width} w[2];
    _Pragma("GCC unroll 2")
    for (int v = 0; v < vectors; v++) w[v] = *(const vec_{width} *)(from + v * apart);
    _Pragma("GCC unroll 14")
    for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 2")
        for (int v = 0; v < vectors; v++) sums[r][v] += numbers[r * step] * w[v];
}}

INLINE void gather_{width}(
    int rows, int vectors, int apart, vec_{width} sums[MOST_ROWS][2], float total[MOST_ROWS][2 * LANES_{width}]
) {{
    _Pragma("GCC unroll 14")
    for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 2")
        for (int v = 0; v < vectors; v++) sums[r][v] = *(vec_{width} *)&total[r][v * apart];
}}

INLINE void spread_{width}(
    int rows, int vectors, int apart, vec_{width} sums[MOST_ROWS][2], float total[MOST_ROWS][2 * LANES_{width}]
) {{
    _Pragma("GCC unroll 14")
    for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 2")
        for (int v = 0; v < vectors; v++) *(vec_{width} *)&total[r][v * apart] = sums[r][v];
}}
"""
CHANNELS = """
/* Add the products of two runs of `vectors` vectors, each to sums of its own. */
INLINE void add_channels_{width}(int vectors, vec_{width} sums[], const float *x, const float *w) {{
    _Pragma("GCC unroll 32")
    for (int v = 0; v < vectors; v++)
        sums[v] += *(const vec_{width} *)(x + v * LANES_{width}) * *(const vec_{width} *)(w + v * LANES_{width});
}}
"""
DOTS = """
typedef float quarter __attribute__((vector_size(16), aligned(4), may_alias));

/* Add the dot products of some rows with some columns, `row` and `column` apart, over `count` elements side by side. */
INLINE void add_dots(
    int rows, int columns, const float *a, int64_t row, const float *b, int64_t column, int64_t count,
    float total[SIDE][MOST_COLUMNS]
) {
    vec_16 sums[SIDE][MOST_COLUMNS], x[SIDE];
    int64_t k = 0;
    _Pragma("GCC unroll 8")
    for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 8")
        for (int c = 0; c < columns; c++) sums[r][c] = (vec_16){0};
    for (; k + LANES <= count; k += LANES) {
        _Pragma("GCC unroll 8")
        for (int r = 0; r < rows; r++) x[r] = *(const vec_16 *)(a + r * row + k);
        _Pragma("GCC unroll 8")
        for (int c = 0; c < columns; c++) {
            const vec_16 w = *(const vec_16 *)(b + c * column + k);
            _Pragma("GCC unroll 8")
            for (int r = 0; r < rows; r++) sums[r][c] += x[r] * w;
        }
    }
    _Pragma("GCC unroll 8")
    for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 8")
        for (int c = 0; c < columns; c++) {
            float parts[LANES];
            *(vec_16 *)parts = sums[r][c];
            quarter four = *(quarter *)parts;
            for (int i = 4; i < LANES; i += 4) four += *(quarter *)(parts + i);
            float sum = (four[0] + four[1]) + (four[2] + four[3]);
            for (int64_t i = k; i < count; i++) sum += a[r * row + i] * b[c * column + i];
            total[r][c] += sum;
        }
}
"""


def helpers(text: str) -> Iterator[str]:
    """What a text of functions needs of these."""
    dots = "add_dots(" in text
    widths = [width for width in (16, 8, 4) if f"vec_{width} " in text or (dots and width == 16)]
    spans = "first_from(" in text or "end_at(" in text
    if widths or spans:
        yield INLINE
    if widths:
        yield HEAD
    if spans:
        yield SPANS
    for width in widths:
        yield TILE.format(width=width)
        if f"add_channels_{width}(" in text:
            yield CHANNELS.format(width=width)
    if dots:
        yield DOTS
