/* JPEG, sequential with Huffman codes (ITU T.81), of one component or three: to the bytes of libjpeg, with its accurate
 * whole-number cosine transform (Loeffler, Ligtenberg and Moschytz) and its triangle filter between colour samples. */
#include "netc_image.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned char byte;

static const char *const CUT = "the JPEG file ends too early", *const ODD = "the JPEG file contradicts itself";
static const char *const MEMORY = "there is not enough memory";

typedef struct {
    uint16_t counts[17], symbols[256];
    int known;
} table;

/* width, height: samples; stride and rows: those of whole units, in memory. */
typedef struct {
    int id, h, v, quantizer, dc, ac, last;
    size_t width, height, stride, rows;
    byte *samples;
} component;

struct netc_jpeg {
    const byte *data;
    size_t bytes, at, height, width;
    uint32_t held;
    int count, cut, components, most_h, most_v, interval, plain;
    uint16_t quantizers[4][64];
    table codes[2][4];
    component of[3];
    int scanned[3];
};

static const byte ZIGZAG[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
                                41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
                                30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

/* One bit of the coded data; a byte FF is followed by a zero, or is a marker, where the data end. */
static int bit(netc_jpeg *in) {
    if (!in->count) {
        if (in->at >= in->bytes || (in->data[in->at] == 0xFF && (in->at + 1 >= in->bytes || in->data[in->at + 1]))) {
            in->cut = 1;
            return 0;
        }
        in->held = in->data[in->at];
        in->at += in->held == 0xFF ? 2 : 1;
        in->count = 8;
    }
    return in->held >> --in->count & 1;
}

/* A number of so many bits; those that begin with a zero are negative. */
static int number(netc_jpeg *in, int bits) {
    int found = 0;
    for (int k = 0; k < bits; k++) found = 2 * found + bit(in);
    return bits && found < 1 << (bits - 1) ? found - (1 << bits) + 1 : found;
}

static int symbol(netc_jpeg *in, const table *code) {
    int value = 0, first = 0, index = 0;
    for (int length = 1; length <= 16 && !in->cut; length++) {
        value += bit(in);
        if (value - first < code->counts[length]) return code->symbols[index + value - first];
        index += code->counts[length];
        first = 2 * (first + code->counts[length]);
        value *= 2;
    }
    in->cut = 1;
    return 0;
}

static const char *read_codes(netc_jpeg *jpeg, const byte *at, size_t bytes) {
    while (bytes) {
        table *code;
        size_t total = 0;
        int left = 1;
        if (bytes < 17 || at[0] & 0xEC) return ODD;
        code = &jpeg->codes[at[0] >> 4][at[0] & 3];
        memset(code, 0, sizeof *code);
        for (int k = 1; k <= 16; k++) {
            total += code->counts[k] = at[k];
            if ((left = 2 * left - at[k]) < 0) return ODD;
        }
        if (total > 256 || total > bytes - 17) return ODD;
        for (size_t k = 0; k < total; k++) code->symbols[k] = at[17 + k];
        code->known = 1;
        at += 17 + total;
        bytes -= 17 + total;
    }
    return NULL;
}

static const char *read_quantizers(netc_jpeg *jpeg, const byte *at, size_t bytes) {
    while (bytes) {
        size_t wide = at[0] >> 4, size = 64 * (wide + 1);
        if (wide > 1 || (at[0] & 15) > 3 || bytes - 1 < size) return ODD;
        for (size_t k = 0; k < 64; k++)
            jpeg->quantizers[at[0] & 3][ZIGZAG[k]] =
                (uint16_t)(wide ? at[1 + 2 * k] << 8 | at[2 + 2 * k] : at[1 + k]);
        at += 1 + size;
        bytes -= 1 + size;
    }
    return NULL;
}

static const char *read_frame(netc_jpeg *jpeg, const byte *at, size_t bytes) {
    size_t across, down;
    if (jpeg->components || bytes < 6) return ODD;
    jpeg->height = (size_t)(at[1] << 8 | at[2]);
    jpeg->width = (size_t)(at[3] << 8 | at[4]);
    if (at[0] != 8 || (at[5] != 1 && at[5] != 3)) return "only JPEG of 8 bits, gray or in three colours, is read";
    if (bytes != 6 + 3 * (size_t)at[5]) return ODD;
    if (!jpeg->height || !jpeg->width || jpeg->height > NETC_IMAGE_PIXELS / jpeg->width)
        return "the image is empty, or too large";
    jpeg->components = at[5];
    jpeg->most_h = jpeg->most_v = 1;
    for (int k = 0; k < jpeg->components; k++) {
        component *one = &jpeg->of[k];
        const byte *from = at + 6 + 3 * k;
        one->id = from[0];
        one->h = from[1] >> 4;
        one->v = from[1] & 15;
        one->quantizer = from[2];
        if (one->h < 1 || one->h > 4 || one->v < 1 || one->v > 4 || one->quantizer > 3) return ODD;
        if (jpeg->components == 1) one->h = one->v = 1;
        if (one->h > jpeg->most_h) jpeg->most_h = one->h;
        if (one->v > jpeg->most_v) jpeg->most_v = one->v;
    }
    across = (jpeg->width + 8 * (size_t)jpeg->most_h - 1) / (8 * (size_t)jpeg->most_h);
    down = (jpeg->height + 8 * (size_t)jpeg->most_v - 1) / (8 * (size_t)jpeg->most_v);
    for (int k = 0; k < jpeg->components; k++) {
        component *one = &jpeg->of[k];
        if (jpeg->most_h % one->h || jpeg->most_v % one->v) return "the JPEG has an unusual sampling of colours";
        one->width = (jpeg->width * (size_t)one->h + (size_t)jpeg->most_h - 1) / (size_t)jpeg->most_h;
        one->height = (jpeg->height * (size_t)one->v + (size_t)jpeg->most_v - 1) / (size_t)jpeg->most_v;
        one->stride = across * (size_t)one->h * 8;
        one->rows = down * (size_t)one->v * 8;
        one->samples = calloc(one->stride, one->rows);
        if (!one->samples) return MEMORY;
    }
    return NULL;
}

/* The cosine transform of eight numbers that are `step` apart, in 13 bits; `shift` of them go. */
static void transform(int64_t *x, size_t step, int shift) {
    int64_t even = (x[2 * step] + x[6 * step]) * 4433, a = (x[0] + x[4 * step]) * 8192, b = (x[0] - x[4 * step]) * 8192;
    int64_t low = even - x[6 * step] * 15137, high = even + x[2 * step] * 6270;
    int64_t sums[4] = {a + high, b + low, b - low, a - high};
    int64_t p = x[7 * step], q = x[5 * step], r = x[3 * step], s = x[step];
    int64_t both = (p + r + q + s) * 9633, ps = (p + s) * -7373, qr = (q + r) * -20995;
    int64_t pr = (p + r) * -16069 + both, qs = (q + s) * -3196 + both;
    int64_t odd[4] = {s * 12299 + ps + qs, r * 25172 + qr + pr, q * 16819 + qr + qs, p * 2446 + ps + pr};
    int64_t half = (int64_t)1 << (shift - 1);
    for (size_t k = 0; k < 4; k++) {
        x[k * step] = (sums[k] + odd[k] + half) >> shift;
        x[(7 - k) * step] = (sums[k] - odd[k] + half) >> shift;
    }
}

static const char *read_block(netc_jpeg *jpeg, component *one, size_t row, size_t column) {
    const uint16_t *quantizer = jpeg->quantizers[one->quantizer];
    const table *ac = &jpeg->codes[1][one->ac];
    int64_t x[64] = {0};
    int size = symbol(jpeg, &jpeg->codes[0][one->dc]);
    byte *to = one->samples + 8 * (row * one->stride + column);
    if (size > 11) return ODD;
    one->last += number(jpeg, size);
    if (one->last > 1 << 20 || one->last < -(1 << 20)) return ODD;
    x[0] = (int64_t)one->last * quantizer[0];
    for (int k = 1; k < 64; k++) {
        int found = symbol(jpeg, ac), bits = found & 15;
        if (!bits && found >> 4 != 15) break;
        k += found >> 4;
        if (k > 63) return ODD;
        x[ZIGZAG[k]] = (int64_t)number(jpeg, bits) * quantizer[ZIGZAG[k]];
    }
    if (jpeg->cut) return CUT;
    for (size_t k = 0; k < 8; k++) transform(x + k, 8, 11);
    for (size_t k = 0; k < 8; k++) transform(x + 8 * k, 1, 18);
    for (size_t k = 0; k < 64; k++) {
        int64_t value = x[k] + 128;
        to[k / 8 * one->stride + k % 8] = (byte)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
    return NULL;
}

/* Behind each interval stands a marker, and sums begin anew. */
static const char *restart(netc_jpeg *jpeg, int number_of) {
    jpeg->count = 0;
    if (jpeg->bytes - jpeg->at < 2) return CUT;
    if (jpeg->data[jpeg->at] != 0xFF || jpeg->data[jpeg->at + 1] != 0xD0 + number_of % 8) return ODD;
    jpeg->at += 2;
    for (int k = 0; k < jpeg->components; k++) jpeg->of[k].last = 0;
    return NULL;
}

static const char *read_scan(netc_jpeg *jpeg, const byte *at, size_t bytes) {
    component *here[3];
    int count = bytes ? at[0] : 0, single;
    size_t across, down;
    const char *wrong = NULL;
    if (!jpeg->components || count < 1 || count > jpeg->components || bytes != 4 + 2 * (size_t)count) return ODD;
    for (int k = 0; k < count; k++) {
        component *one = NULL;
        for (int c = 0; c < jpeg->components; c++)
            if (jpeg->of[c].id == at[1 + 2 * k] && !jpeg->scanned[c]) {
                one = &jpeg->of[c];
                jpeg->scanned[c] = 1;
                break;
            }
        if (!one || at[2 + 2 * k] & 0xCC) return ODD;
        one->dc = at[2 + 2 * k] >> 4;
        one->ac = at[2 + 2 * k] & 15;
        one->last = 0;
        if (!jpeg->codes[0][one->dc].known || !jpeg->codes[1][one->ac].known) return ODD;
        here[k] = one;
    }
    jpeg->count = 0;
    single = count == 1;
    /* A component alone comes block by block, as many as it has samples for; several come in units. */
    across = single ? (here[0]->width + 7) / 8 : jpeg->of[0].stride / 8 / (size_t)jpeg->of[0].h;
    down = single ? (here[0]->height + 7) / 8 : jpeg->of[0].rows / 8 / (size_t)jpeg->of[0].v;
    for (size_t unit = 0; unit < across * down; unit++) {
        if (jpeg->interval && unit && unit % (size_t)jpeg->interval == 0 &&
            (wrong = restart(jpeg, (int)(unit / (size_t)jpeg->interval) - 1)))
            return wrong;
        for (int k = 0; k < count; k++) {
            size_t h = single ? 1 : (size_t)here[k]->h, v = single ? 1 : (size_t)here[k]->v;
            for (size_t b = 0; b < h * v; b++)
                if ((wrong = read_block(jpeg, here[k], unit / across * v + b / h, unit % across * h + b % h)))
                    return wrong;
        }
    }
    return NULL;
}

static const char *read_segment(netc_jpeg *jpeg, int marker, const byte *at, size_t bytes) {
    if (marker == 0xC4) return read_codes(jpeg, at, bytes);
    if (marker == 0xDB) return read_quantizers(jpeg, at, bytes);
    if (marker == 0xC0 || marker == 0xC1) return read_frame(jpeg, at, bytes);
    if (marker == 0xDA) return read_scan(jpeg, at, bytes);
    if (marker == 0xDD && bytes == 2) jpeg->interval = at[0] << 8 | at[1];
    if (marker == 0xEE && bytes >= 12 && !memcmp(at, "Adobe", 5)) jpeg->plain = !at[11];
    if (marker == 0xC2) return "a progressive JPEG is not read; save it as a baseline one";
    if (marker > 0xC4 && marker < 0xD0 && marker != 0xC8) return "this kind of JPEG is not read";
    return NULL;
}

static const char *read_all(netc_jpeg *jpeg) {
    const char *wrong = NULL;
    int left = -1;
    jpeg->at = 2;
    while (!wrong && left) {
        size_t size;
        int marker;
        while (jpeg->at + 1 < jpeg->bytes && !(jpeg->data[jpeg->at] == 0xFF && jpeg->data[jpeg->at + 1] != 0xFF &&
                                               jpeg->data[jpeg->at + 1]))
            jpeg->at++;
        if (jpeg->bytes - jpeg->at < 4) return CUT;
        marker = jpeg->data[jpeg->at + 1];
        size = (size_t)(jpeg->data[jpeg->at + 2] << 8 | jpeg->data[jpeg->at + 3]);
        if (marker == 0xD9) return CUT;
        if (size < 2 || size > jpeg->bytes - jpeg->at - 2) return CUT;
        jpeg->at += 2 + size;
        wrong = read_segment(jpeg, marker, jpeg->data + jpeg->at - size + 2, size - 2);
        left = jpeg->components ? jpeg->components : -1;
        for (int k = 0; k < jpeg->components; k++) left -= jpeg->scanned[k];
    }
    return wrong;
}

const char *netc_jpeg_open(netc_jpeg **jpeg, const unsigned char *data, size_t bytes, size_t *height, size_t *width) {
    const char *wrong;
    netc_jpeg *made = *jpeg = calloc(1, sizeof *made);
    if (!made) return MEMORY;
    made->data = data;
    made->bytes = bytes;
    wrong = read_all(made);
    *height = made->height;
    *width = made->width;
    return wrong;
}

/* A component's value at a pixel: between its samples where they are farther apart. */
static int value_at(const netc_jpeg *jpeg, const component *one, size_t y, size_t x) {
    size_t h = (size_t)(jpeg->most_h / one->h), v = (size_t)(jpeg->most_v / one->v);
    size_t row = y / v, column = x / h, lower = y % 2, right = x % 2;
    size_t near = lower ? (row + 1 < one->height ? row + 1 : row) : row ? row - 1 : 0;
    size_t beside = right ? (column + 1 < one->width ? column + 1 : column) : column ? column - 1 : 0;
    const byte *line = one->samples + row * one->stride, *other = one->samples + near * one->stride;
    if (h == 2 && v == 1 && one->width > 2)
        return beside == column ? line[column] : (3 * line[column] + line[beside] + (right ? 2 : 1)) >> 2;
    if (h == 1 && v == 2) return (3 * line[column] + other[column] + (lower ? 2 : 1)) >> 2;
    if (h == 2 && v == 2 && one->width > 2)
        return (3 * (3 * line[column] + other[column]) + 3 * line[beside] + other[beside] + (right ? 7 : 8)) >> 4;
    return line[column];
}

void netc_jpeg_pixels(const netc_jpeg *jpeg, unsigned char *pixels) {
    for (size_t k = 0; k < jpeg->height * jpeg->width; k++) {
        size_t y = k / jpeg->width, x = k % jpeg->width;
        int values[3], red, blue;
        for (int c = 0; c < 3; c++)
            values[c] = jpeg->components == 1 ? jpeg->of[0].samples[y * jpeg->of[0].stride + x]
                                              : value_at(jpeg, &jpeg->of[c], y, x);
        if (jpeg->components == 3 && !jpeg->plain) {
            blue = values[1] - 128;
            red = values[2] - 128;
            values[2] = values[0] + ((116130 * blue + 32768) >> 16);
            values[1] = values[0] + ((-22554 * blue - 46802 * red + 32768) >> 16);
            values[0] += (91881 * red + 32768) >> 16;
        }
        for (int c = 0; c < 3; c++)
            pixels[3 * k + (size_t)c] = (byte)(values[c] < 0 ? 0 : values[c] > 255 ? 255 : values[c]);
    }
}

void netc_jpeg_close(netc_jpeg *jpeg) {
    for (int k = 0; jpeg && k < 3; k++) free(jpeg->of[k].samples);
    free(jpeg);
}
