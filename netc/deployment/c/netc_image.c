/* Image files: the formats that need no library. JPEG has the bytes of libjpeg (its accurate transform and its smooth
 * colours), so that a net sees what it saw in training. */
#include "netc_image.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned char byte;

static const char *const CUT = "the image file ends too early", *const ODD = "the image file contradicts itself";
static const char *const MEMORY = "there is not enough memory", *const SIZE = "the image is empty, or too large";

/* The memory of an image: its size is one that can be read. */
static const char *make(netc_image *image, size_t height, size_t width, size_t channels) {
    if (!height || !width || width > NETC_IMAGE_PIXELS || height > NETC_IMAGE_PIXELS / width) return SIZE;
    image->pixels = calloc(height * width, channels);
    if (!image->pixels) return MEMORY;
    image->height = height;
    image->width = width;
    image->channels = channels;
    return NULL;
}

/* PPM and PGM: `P6 width height 255`, one blank, bytes. A line from # on is a comment. */
static const char *read_pnm(netc_image *image, const byte *data, size_t bytes) {
    size_t numbers[3], at = 2, channels = data[1] == '6' ? 3 : 1;
    const char *wrong;
    for (int k = 0; k < 3; k++) {
        for (; at < bytes && (data[at] == '#' || data[at] <= ' '); at++)
            if (data[at] == '#')
                while (at + 1 < bytes && data[at] != '\n') at++;
        if (at == bytes || data[at] < '0' || data[at] > '9') return ODD;
        for (numbers[k] = 0; at < bytes && data[at] >= '0' && data[at] <= '9'; at++) {
            numbers[k] = 10 * numbers[k] + (size_t)(data[at] - '0');
            if (numbers[k] > NETC_IMAGE_PIXELS) return SIZE;
        }
    }
    if (numbers[2] != 255) return "only PPM and PGM of 8 bits are read";
    at++;
    if ((wrong = make(image, numbers[1], numbers[0], channels))) return wrong;
    if (at > bytes || bytes - at < numbers[0] * numbers[1] * channels) return CUT;
    memcpy(image->pixels, data + at, numbers[0] * numbers[1] * channels);
    return NULL;
}

static uint32_t little(const byte *at, int bytes) {
    uint32_t found = 0;
    for (int k = bytes; k-- > 0;) found = found << 8 | at[k];
    return found;
}

static uint32_t big(const byte *at, int bytes) {
    uint32_t found = 0;
    for (int k = 0; k < bytes; k++) found = found << 8 | at[k];
    return found;
}

static const char *read_bmp(netc_image *image, const byte *data, size_t bytes) {
    size_t start, width, height, depth, row;
    int32_t rows;
    const char *wrong;
    if (bytes < 54) return CUT;
    start = little(data + 10, 4);
    width = little(data + 18, 4);
    rows = (int32_t)little(data + 22, 4);
    depth = little(data + 28, 2) / 8;
    if (little(data + 14, 4) < 40 || little(data + 30, 4) || (depth != 3 && depth != 4) || little(data + 28, 2) % 8)
        return "only BMP of 24 or 32 bits without compression is read";
    if (rows == INT32_MIN) return SIZE;
    height = (size_t)(rows < 0 ? -rows : rows);
    if ((wrong = make(image, height, width, 3))) return wrong;
    row = (width * depth + 3) / 4 * 4;
    if (start > bytes || (bytes - start) / row < height) return CUT;
    for (size_t y = 0; y < height; y++) {
        const byte *from = data + start + (rows < 0 ? y : height - 1 - y) * row;
        for (size_t x = 0; x < width; x++)
            for (size_t c = 0; c < 3; c++) image->pixels[(y * width + x) * 3 + c] = from[x * depth + 2 - c];
    }
    return NULL;
}

/* Deflate, as in RFC 1951. */
typedef struct {
    const byte *data;
    size_t bytes, at;
    uint32_t held;
    int count, cut;
} bit_reader;

static unsigned bits_of(bit_reader *in, int count) {
    unsigned found;
    while (in->count < count) {
        if (in->at == in->bytes) {
            in->cut = 1;
            return 0;
        }
        in->held |= (uint32_t)in->data[in->at++] << in->count;
        in->count += 8;
    }
    found = in->held & ((1u << count) - 1);
    in->held >>= count;
    in->count -= count;
    return found;
}

/* A code: how many of each length there are, and the symbols in order. */
typedef struct {
    uint16_t counts[16], symbols[288];
} huffman;

static int build(huffman *code, const byte *lengths, int count) {
    int left = 1, starts[16];
    memset(code, 0, sizeof *code);
    for (int k = 0; k < count; k++) code->counts[lengths[k]]++;
    code->counts[0] = 0;
    for (int length = 1; length < 16; length++)
        if ((left = 2 * left - code->counts[length]) < 0) return 1;
    starts[1] = 0;
    for (int length = 1; length < 15; length++) starts[length + 1] = starts[length] + code->counts[length];
    for (int k = 0; k < count; k++)
        if (lengths[k]) code->symbols[starts[lengths[k]]++] = (uint16_t)k;
    return 0;
}

static int symbol_of(bit_reader *in, const huffman *code) {
    int value = 0, first = 0, index = 0;
    for (int length = 1; length < 16 && !in->cut; length++) {
        value |= (int)bits_of(in, 1);
        if (value - first < code->counts[length]) return code->symbols[index + value - first];
        index += code->counts[length];
        first = 2 * (first + code->counts[length]);
        value *= 2;
    }
    in->cut = 1;
    return 0;
}

/* The codes of a block with its own ones. */
static int own_codes(bit_reader *in, huffman *lengths_code, huffman *literals, huffman *distances) {
    static const byte order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    byte lengths[320] = {0}, first[19] = {0};
    int count = (int)bits_of(in, 5) + 257, far = (int)bits_of(in, 5) + 1, known = (int)bits_of(in, 4) + 4;
    for (int k = 0; k < known; k++) first[order[k]] = (byte)bits_of(in, 3);
    if (count > 286 || far > 30 || build(lengths_code, first, 19)) return 1;
    for (int k = 0; k < count + far && !in->cut;) {
        int symbol = symbol_of(in, lengths_code), times = 1, value = symbol;
        if (symbol == 16) {
            if (!k) return 1;
            value = lengths[k - 1];
            times = 3 + (int)bits_of(in, 2);
        } else if (symbol > 16) {
            value = 0;
            times = symbol == 17 ? 3 + (int)bits_of(in, 3) : 11 + (int)bits_of(in, 7);
        }
        if (k + times > count + far) return 1;
        while (times--) lengths[k++] = (byte)value;
    }
    return in->cut || build(literals, lengths, count) || build(distances, lengths + count, far);
}

static int inflate(bit_reader *in, byte *out, size_t room) {
    static const uint16_t base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                      31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint16_t far[30] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
                                     193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    huffman literals, distances, lengths_code;
    byte fixed[320];
    size_t at = 0;
    int last = 0;
    while (!last && !in->cut) {
        int kind = ((last = (int)bits_of(in, 1)), (int)bits_of(in, 2));
        if (kind == 0) {
            size_t length;
            in->held = 0;
            in->count = 0;
            if (in->bytes - in->at < 4) return 1;
            length = little(in->data + in->at, 2);
            in->at += 4;
            if (in->bytes - in->at < length || room - at < length) return 1;
            memcpy(out + at, in->data + in->at, length);
            in->at += length;
            at += length;
            continue;
        }
        if (kind == 1) {
            for (int k = 0; k < 288; k++) fixed[k] = (byte)(k < 144 ? 8 : k < 256 ? 9 : k < 280 ? 7 : 8);
            memset(fixed + 288, 5, 30);
            if (build(&literals, fixed, 288) || build(&distances, fixed + 288, 30)) return 1;
        } else if (kind == 3 || own_codes(in, &lengths_code, &literals, &distances)) {
            return 1;
        }
        for (;;) {
            int symbol = symbol_of(in, &literals);
            if (in->cut) return 1;
            if (symbol == 256) break;
            if (symbol < 256) {
                if (at == room) return 1;
                out[at++] = (byte)symbol;
            } else {
                int more = symbol - 257, place;
                size_t length, back;
                if (more > 28) return 1;
                length = base[more] + bits_of(in, more < 8 || more == 28 ? 0 : (more - 4) / 4);
                place = symbol_of(in, &distances);
                if (in->cut || place > 29) return 1;
                back = far[place] + bits_of(in, place < 4 ? 0 : (place - 2) / 2);
                if (in->cut || back > at || room - at < length) return 1;
                for (; length--; at++) out[at] = out[at - back];
            }
        }
    }
    return in->cut || at != room;
}

/* A row of PNG without its filter; `above` is the one before, `step` the bytes of a pixel. */
static int unfilter(int filter, byte *row, const byte *above, size_t bytes, size_t step) {
    for (size_t x = 0; x < bytes; x++) {
        int a = x < step ? 0 : row[x - step], b = above ? above[x] : 0, c = above && x >= step ? above[x - step] : 0;
        int p = a + b - c, pa = abs(p - a), pb = abs(p - b), pc = abs(p - c), add;
        switch (filter) {
            case 0: add = 0; break;
            case 1: add = a; break;
            case 2: add = b; break;
            case 3: add = (a + b) / 2; break;
            case 4: add = pa <= pb && pa <= pc ? a : pb <= pc ? b : c; break;
            default: return 1;
        }
        row[x] = (byte)(row[x] + add);
    }
    return 0;
}

static const char *unpack_png(netc_image *image, byte *packed, size_t used, byte *raw, const byte *palette, int kind) {
    static const byte steps[7] = {1, 0, 3, 1, 2, 0, 4};
    size_t step = steps[kind], row = image->width * step;
    bit_reader in = {packed, used, 2, 0, 0, 0};
    if (used < 2 || inflate(&in, raw, image->height * (row + 1))) return ODD;
    for (size_t y = 0; y < image->height; y++) {
        byte *line = raw + y * (row + 1) + 1;
        if (unfilter(line[-1], line, y ? line - row - 1 : NULL, row, step)) return ODD;
        for (size_t x = 0; x < image->width; x++)
            for (size_t c = 0; c < image->channels; c++) {
                const byte *from = line + x * step;
                image->pixels[(y * image->width + x) * image->channels + c] =
                    kind == 3 ? palette[3 * *from + c] : from[image->channels == 3 ? c : 0];
            }
    }
    return NULL;
}

static const char *read_png(netc_image *image, const byte *data, size_t bytes) {
    byte palette[768] = {0}, *packed = NULL, *raw = NULL;
    size_t used = 0;
    int kind = -1;
    const char *wrong = NULL;
    for (size_t at = 8; !wrong;) {
        size_t length;
        if (bytes - at < 12) {
            wrong = CUT;
            break;
        }
        length = big(data + at, 4);
        if (length > bytes - at - 12) {
            wrong = CUT;
            break;
        }
        if (kind < 0 && (memcmp(data + at + 4, "IHDR", 4) || length != 13)) {
            wrong = ODD;
        } else if (kind < 0) {
            const byte *head = data + at + 8;
            size_t width = big(head, 4), height = big(head + 4, 4);
            kind = head[9];
            if (head[8] != 8 || head[10] || head[11] || head[12] || kind > 6 || kind == 1 || kind == 5)
                wrong = "only PNG of 8 bits, not interlaced, is read";
            else if (!(wrong = make(image, height, width, kind == 0 || kind == 4 ? 1 : 3))) {
                packed = malloc(bytes);
                raw = malloc(height * (width * 4 + 1));
                if (!packed || !raw) wrong = MEMORY;
            }
        } else if (!memcmp(data + at + 4, "PLTE", 4)) {
            memcpy(palette, data + at + 8, length < 768 ? length : 768);
        } else if (!memcmp(data + at + 4, "IDAT", 4)) {
            memcpy(packed + used, data + at + 8, length);
            used += length;
        } else if (!memcmp(data + at + 4, "IEND", 4)) {
            break;
        }
        at += length + 12;
    }
    if (!wrong) wrong = kind < 0 ? ODD : unpack_png(image, packed, used, raw, palette, kind);
    free(packed);
    free(raw);
    return wrong;
}

void netc_image_free(netc_image *image) {
    free(image->pixels);
    memset(image, 0, sizeof *image);
}

const char *netc_image_decode(netc_image *image, const unsigned char *data, size_t bytes) {
    static const byte png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    const char *wrong = "the file is no image of JPEG, PNG, BMP, PPM or PGM";
    memset(image, 0, sizeof *image);
    if (bytes > 8 && data[0] == 0xFF && data[1] == 0xD8) {
        size_t height, width;
        netc_jpeg *opened = NULL;
        wrong = netc_jpeg_open(&opened, data, bytes, &height, &width);
        if (!wrong && !(wrong = make(image, height, width, 3))) netc_jpeg_pixels(opened, image->pixels);
        netc_jpeg_close(opened);
    } else if (bytes > 8 && !memcmp(data, png, 8)) {
        wrong = read_png(image, data, bytes);
    } else if (bytes > 8 && data[0] == 'B' && data[1] == 'M') {
        wrong = read_bmp(image, data, bytes);
    } else if (bytes > 8 && data[0] == 'P' && (data[1] == '5' || data[1] == '6')) {
        wrong = read_pnm(image, data, bytes);
    }
    if (wrong) netc_image_free(image);
    return wrong;
}

const char *netc_image_read(netc_image *image, const char *path) {
    FILE *file = fopen(path, "rb");
    const char *wrong = "the file cannot be read";
    byte *data = NULL;
    size_t bytes = 0, room = 1 << 16;
    memset(image, 0, sizeof *image);
    if (!file) return wrong;
    for (;;) {
        byte *more = realloc(data, room);
        wrong = more ? NULL : MEMORY;
        if (wrong) break;
        data = more;
        bytes += fread(data + bytes, 1, room - bytes, file);
        if (bytes < room) break;
        wrong = room >= NETC_IMAGE_BYTES ? "the image file is too large" : NULL;
        if (wrong) break;
        room *= 2;
    }
    if (!wrong && ferror(file)) wrong = "the file cannot be read";
    if (!wrong) wrong = netc_image_decode(image, data, bytes);
    free(data);
    fclose(file);
    return wrong;
}
