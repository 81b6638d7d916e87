/* From here on: the tables of the net, and the calls of NET.h. */
#include "NET.h"

#include <stdio.h>

/* A value and where it lies: byte offset, and elements from one index to the next. */
typedef struct {
    NET_value about;
    size_t offset, element, strides[NET_RANK];
    int packed;
} NET_place;

/* The numbers that an input may hold, or that a flag among the outputs tells of. */
typedef struct {
    const char *input;
    double count;
    int ignores;
    double ignored;
} NET_range;

@TABLES@

enum { NET_LINE = 64, NET_CHUNK = 1 << 16 };

/* base: the net's one memory. stale: state was set, and what depends on it alone is to be computed again. */
struct NET_net {
    unsigned char *base;
    void *memory[NET_MEMORIES];
    int threads, stale;
};

const char *NET_message(int status) {
    static const char *const words[] = {
        "all is well",
        "there is not enough memory",
        "the file of the weights cannot be read",
        "the weights are not those that were compiled with this program",
        "there is no such value, or it is not to be set",
        "the value has another size",
        "a layer was given a label or an index that it cannot know",
        "the net has no input of images, or no such record",
    };
    return status >= 0 && status < (int)(sizeof words / sizeof *words) ? words[status] : "an unknown error";
}

const NET_value *NET_at(size_t number) {
    return number < NET_place_count ? &NET_places[number].about : NULL;
}

const NET_value *NET_find(const char *name) {
    for (size_t i = 0; i < NET_place_count; i++)
        if (!strcmp(NET_places[i].about.name, name)) return &NET_places[i].about;
    return NULL;
}

/* CRC-32 as in zlib, going on from `sum`. */
static uint32_t NET_checksum(uint32_t sum, const unsigned char *data, size_t bytes) {
    static const uint32_t table[16] = {0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4,
                                       0x4DB26158, 0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
                                       0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C};
    sum = ~sum;
    for (size_t i = 0; i < bytes; i++) {
        sum = table[(sum ^ data[i]) & 15] ^ (sum >> 4);
        sum = table[(sum ^ (data[i] >> 4)) & 15] ^ (sum >> 4);
    }
    return ~sum;
}

static int NET_load(NET_net *net, const char *path) {
#if NET_EMBEDDED
    (void)path;
    memcpy(net->base, NET_weights, NET_WEIGHTS_BYTES);
    return NET_checksum(0, net->base, NET_WEIGHTS_BYTES) == NET_WEIGHTS_SUM ? NET_OK : NET_OTHER_WEIGHTS;
#else
    FILE *file = path ? fopen(path, "rb") : NULL;
    int status = NET_OK;
    if (!file) return NET_NO_WEIGHTS;
    if (fread(net->base, 1, NET_WEIGHTS_BYTES, file) != NET_WEIGHTS_BYTES || fgetc(file) != EOF ||
        NET_checksum(0, net->base, NET_WEIGHTS_BYTES) != NET_WEIGHTS_SUM)
        status = NET_OTHER_WEIGHTS;
    fclose(file);
    return status;
#endif
}

int NET_create(NET_net **net, const char *weights, int threads) {
    size_t head = (sizeof **net + NET_LINE - 1) / NET_LINE * NET_LINE;
    unsigned char *whole = aligned_alloc(NET_LINE, head + NET_BYTES);
    NET_net *made = (NET_net *)whole;
    int status;
    *net = NULL;
    if (!whole) return NET_NO_MEMORY;
    memset(whole, 0, head + NET_BYTES);
    made->base = whole + head;
    made->threads = threads > 1 ? threads : 1;
    made->stale = 1;
    for (size_t i = 0; i < NET_MEMORIES; i++) made->memory[i] = made->base + NET_starts[i];
    status = NET_load(made, weights);
    if (status == NET_OK)
        *net = made;
    else
        free(whole);
    return status;
}

void NET_destroy(NET_net *net) { free(net); }

/* The place of a value; `about` is its first member. */
static const NET_place *NET_place_of(const char *name, size_t bytes, int *status) {
    const NET_value *found = NET_find(name);
    *status = !found ? NET_NO_VALUE : found->bytes != bytes ? NET_OTHER_SIZE : NET_OK;
    return *status == NET_OK ? (const NET_place *)found : NULL;
}

/* A number of an array, by its element type. */
static double NET_number(const char *dtype, const void *data, size_t i) {
    if (!strcmp(dtype, "i32")) return ((const int32_t *)data)[i];
    if (!strcmp(dtype, "i64")) return (double)((const int64_t *)data)[i];
    if (!strcmp(dtype, "u8")) return ((const uint8_t *)data)[i];
    if (!strcmp(dtype, "f32")) return ((const float *)data)[i];
    if (!strcmp(dtype, "f64")) return ((const double *)data)[i];
    return 0;
}

static int NET_within(const NET_range *range, const NET_place *place, const void *data) {
    for (size_t i = 0; i < place->about.bytes / place->element; i++) {
        double x = NET_number(place->about.dtype, data, i);
        int none = range->ignores && x > range->ignored - 1 && x < range->ignored + 1;
        if (!none && !(x > -1 && x < range->count)) return 0;
    }
    return 1;
}

int NET_set(NET_net *net, const char *name, const void *data, size_t bytes) {
    int status;
    const NET_place *place = NET_place_of(name, bytes, &status);
    if (!place) return status;
    if (place->about.kind == NET_OUTPUT || !place->packed) return NET_NO_VALUE;
    if (place->about.kind == NET_STATE) net->stale = 1;
    for (size_t i = 0; place->about.kind == NET_INPUT && i < NET_range_count; i++)
        if (!strcmp(NET_ranges[i].input, name) && !NET_within(&NET_ranges[i], place, data)) return NET_OTHER_NUMBER;
    memcpy(net->base + place->offset, data, bytes);
    return NET_OK;
}

int NET_step(NET_net *net) {
    if (net->stale) prepare(net->memory, NULL, net->threads, NULL);
    net->stale = 0;
    step(net->memory, NULL, net->threads, NULL);
    for (size_t i = 0; i < NET_range_count; i++) {
        const NET_value *flag = NET_find(NET_ranges[i].input);
        const NET_place *place = (const NET_place *)flag;
        if (flag && flag->kind == NET_OUTPUT && NET_number(flag->dtype, net->base + place->offset, 0) >= 0)
            return NET_OTHER_NUMBER;
    }
    return NET_OK;
}

int NET_get(const NET_net *net, const char *name, void *data, size_t bytes) {
    int status;
    const NET_place *place = NET_place_of(name, bytes, &status);
    size_t index[NET_RANK] = {0}, at = 0, count = place ? bytes / place->element : 0;
    for (size_t i = 0; place && i < count; i++) {
        const unsigned char *from = net->base + place->offset + at * place->element;
        memcpy((unsigned char *)data + i * place->element, from, place->element);
        for (int axis = place->about.rank - 1; axis >= 0; axis--) {
            at += place->strides[axis];
            if (++index[axis] < place->about.shape[axis]) break;
            at -= index[axis] * place->strides[axis];
            index[axis] = 0;
        }
    }
    return status;
}

const char *NET_label(size_t number, size_t classes) {
    return classes == NET_label_count && number < NET_label_count ? NET_labels[number] : NULL;
}

const NET_value *NET_images(void) { return NET_HAS_IMAGES ? NET_find(NET_IMAGE) : NULL; }

const char *NET_rule(void) { return NET_HAS_IMAGES && *NET_RULE ? NET_RULE : NULL; }

/* Along one axis, of a new pixel: the first of the two it lies between, and the weights of both in 11 bits. */
static void NET_between(size_t size, size_t wanted, size_t i, int row, size_t places[2], int32_t weights[2]) {
    float at = (float)(((double)i + 0.5) * (1.0 / ((double)wanted / (double)size)) - 0.5), part;
    int64_t first = (int64_t)floorf(at), last = (int64_t)size - 1;
    part = at - floorf(at);
    if (!row && (first < 0 || first >= last)) part = 0;
    places[0] = (size_t)(first < 0 ? 0 : first > last ? last : first);
    places[1] = (size_t)(first + 1 < 0 ? 0 : first + 1 > last ? last : first + 1);
    weights[0] = (int32_t)rintf((1 - part) * 2048);
    weights[1] = (int32_t)rintf(part * 2048);
}

/* A byte of a pixel; one that is to be gray is a weighted sum of its colours, one without colours has three that are
 * equal. */
static int32_t NET_byte(const unsigned char *pixel, size_t channels, size_t wanted, size_t c) {
    if (channels == 1) return pixel[0];
    return wanted == 3 ? pixel[c] : (4899 * pixel[0] + 9617 * pixel[1] + 1868 * pixel[2] + 8192) >> 14;
}

int NET_set_image(
    NET_net *net, size_t record, const unsigned char *pixels, size_t height, size_t width, size_t channels
) {
    static const size_t full[2] = {NET_RECORD_HEIGHT, NET_RECORD_WIDTH};
    const NET_value *input = NET_images();
    const NET_place *place = (const NET_place *)input;
    size_t wanted, high, wide, top, left, size;
    float *to;
    int halved = height == 2 * full[0] && width == 2 * full[1];
    if (!input || record >= input->shape[0] || (channels != 1 && channels != 3) || !height || !width)
        return NET_NO_IMAGES;
    wanted = input->shape[1];
    high = input->shape[2];
    wide = input->shape[3];
    top = (full[0] - high) / 2;
    left = (full[1] - wide) / 2;
    size = wanted * high * wide;
    to = (float *)(void *)(net->base + place->offset) + record * size;
    for (size_t y = 0; y < high; y++) {
        size_t rows[2];
        int32_t down[2];
        NET_between(height, full[0], y + top, 1, rows, down);
        for (size_t x = 0; x < wide; x++) {
            size_t columns[2];
            int32_t across[2];
            NET_between(width, full[1], x + left, 0, columns, across);
            for (size_t c = 0; c < wanted; c++) {
                size_t of = NET_BACKWARD ? wanted - 1 - c : c, k = (c * high + y) * wide + x;
                int32_t four[2][2], value;
                for (size_t i = 0; i < 4; i++) {
                    size_t from_y = halved ? 2 * (y + top) + i / 2 : rows[i / 2];
                    size_t from_x = halved ? 2 * (x + left) + i % 2 : columns[i % 2];
                    four[i / 2][i % 2] = NET_byte(pixels + (from_y * width + from_x) * channels, channels, wanted, of);
                }
                if (height == full[0] && width == full[1]) {
                    value = NET_byte(pixels + ((y + top) * width + x + left) * channels, channels, wanted, of);
                } else if (halved) {
                    value = (four[0][0] + four[0][1] + four[1][0] + four[1][1] + 2) >> 2;
                } else {
                    int32_t upper = four[0][0] * across[0] + four[0][1] * across[1];
                    int32_t lower = four[1][0] * across[0] + four[1][1] * across[1];
                    value = (((down[0] * (upper >> 4)) >> 16) + ((down[1] * (lower >> 4)) >> 16) + 2) >> 2;
                    value = value < 0 ? 0 : value > 255 ? 255 : value;
                }
                to[k] = ((float)value - NET_mean[k / (size / NET_MEANS)]) * NET_SCALE;
            }
        }
    }
    return NET_OK;
}
