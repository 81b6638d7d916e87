/* The launcher of a compiled net: CUDA driver API and the C library only. What it launches stands in netc_tables.h. */
#include "netc_program.h"

#include <cuda.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A kernel: its code and assembly are files of the folder. scratch: bytes that triton wants for each program. */
typedef struct {
    const char *name, *code, *assembly;
    size_t code_bytes, assembly_bytes;
    uint32_t code_sum, assembly_sum;
    unsigned threads, shared;
} netc_kernel;

/* A launch: `count` byte offsets into the net's memory, from number `first` of the table of offsets on. */
typedef struct {
    unsigned kernel, grid[3];
    size_t first, count;
} netc_launch;

/* A value and where it lies: byte offset, and elements from one index to the next. */
typedef struct {
    netc_value about;
    size_t offset, element;
    size_t strides[NETC_RANK];
    int packed;
} netc_place;

/* All for one kind of GPU. exact: its code runs on no other one, newer or older. */
typedef struct {
    int capability, exact;
    const netc_kernel *kernels;
    size_t kernel_count;
    const netc_launch *launches;
    size_t prepare_count, step_count;
    const uint64_t *offsets;
    const netc_place *places;
    size_t place_count, memory, scratch;
} netc_architecture;

/* What happens to records of an input: (value - mean) * scale, of a crop in the middle. The mean is a number, one for
 * each channel, or one for each element that the input takes. record: the shape that a record has before. */
typedef struct {
    const char *input, *text;
    float scale;
    const float *mean;
    size_t means;
    int rank;
    size_t record[NETC_RANK];
} netc_rule;

/* The numbers that an input may hold: 0 to count - 1, and one that stands for none of them. */
typedef struct {
    const char *input;
    double count;
    int ignores;
    double ignored;
    const char *what, *reader;
} netc_range;

#include "netc_tables.h"

enum { CHUNK = 1 << 20, EXTRA = 2 };
#define COUNT(table) (sizeof(table) / sizeof(*(table)))

struct netc_program {
    const netc_architecture *on;
    CUdevice device;
    CUcontext context;
    CUmodule *modules;
    CUfunction *functions;
    CUdeviceptr memory;
    CUstream stream;
    CUgraphExec step;
    int retained, stale;
};

static int fail(char *message, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, NETC_MESSAGE, format, arguments);
    va_end(arguments);
    return 1;
}

static int check(CUresult result, const char *what, char *message) {
    const char *text = NULL;
    if (result == CUDA_SUCCESS) return 0;
    if (cuGetErrorString(result, &text) != CUDA_SUCCESS || !text) text = "unknown error";
    return fail(message, "%s: %s (CUDA error %d)", what, text, (int)result);
}

/* CRC-32 as in zlib, going on from `sum`. */
static uint32_t checksum(uint32_t sum, const unsigned char *data, size_t bytes) {
    static uint32_t table[256];
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++) value = value & 1 ? 0xEDB88320u ^ (value >> 1) : value >> 1;
            table[i] = value;
        }
    sum = ~sum;
    for (size_t i = 0; i < bytes; i++) sum = table[(sum ^ data[i]) & 255] ^ (sum >> 8);
    return ~sum;
}

static FILE *open_file(const char *folder, const char *name, char *message) {
    size_t length = strlen(folder) + strlen(name) + 2;
    char *path = malloc(length);
    FILE *file = NULL;
    if (!path) {
        fail(message, "there is not enough memory");
        return NULL;
    }
    snprintf(path, length, "%s/%s", folder, name);
    file = fopen(path, "rb");
    if (!file) fail(message, "%s cannot be read", path);
    free(path);
    return file;
}

/* A whole file that must be as the tables say, with a zero byte behind it; to be freed. */
static unsigned char *read_file(const char *folder, const char *name, size_t bytes, uint32_t sum, char *message) {
    FILE *file = open_file(folder, name, message);
    unsigned char *data = file ? malloc(bytes + 1) : NULL;
    if (!file) return NULL;
    if (!data) {
        fail(message, "there is not enough memory");
    } else if (fread(data, 1, bytes + 1, file) != bytes || checksum(0, data, bytes) != sum) {
        fail(message, "%s is not the file that was compiled with this program", name);
        free(data);
        data = NULL;
    } else {
        data[bytes] = 0;
    }
    fclose(file);
    return data;
}

/* The weights go to the device piece by piece: they may be larger than the host's memory. */
static int load_weights(netc_program *program, const char *folder, char *message) {
    FILE *file = open_file(folder, WEIGHTS, message);
    unsigned char *piece = malloc(CHUNK);
    size_t done = 0, taken = 1;
    uint32_t sum = 0;
    int failed = !file || !piece;
    if (file && !piece) fail(message, "there is not enough memory");
    while (!failed && taken > 0) {
        taken = fread(piece, 1, CHUNK, file);
        if (taken > WEIGHTS_BYTES - done) break;
        sum = checksum(sum, piece, taken);
        if (taken > 0) failed = check(cuMemcpyHtoD(program->memory + done, piece, taken), "copying weights", message);
        done += taken;
    }
    if (!failed && (done != WEIGHTS_BYTES || taken > 0 || sum != WEIGHTS_SUM))
        failed = fail(message, "%s is not the file that was compiled with this program", WEIGHTS);
    free(piece);
    if (file) fclose(file);
    return failed;
}

/* The architecture whose code runs on a device: its own, else one that is compatible, else one to compile PTX of. */
static const netc_architecture *choose(int capability, int *compile) {
    const netc_architecture *found = NULL;
    *compile = 0;
    for (size_t i = 0; i < COUNT(architectures); i++) {
        const netc_architecture *one = &architectures[i];
        if (one->capability == capability) {
            *compile = 0;
            return one;
        }
        if (one->exact || one->capability > capability) continue;
        if (!found || one->capability > found->capability) {
            found = one;
            *compile = one->capability / 10 != capability / 10;
        }
    }
    return found;
}

static int load_kernels(netc_program *program, const char *folder, int compile, char *message) {
    for (size_t i = 0; i < program->on->kernel_count; i++) {
        const netc_kernel *kernel = &program->on->kernels[i];
        unsigned char *code =
            compile ? read_file(folder, kernel->assembly, kernel->assembly_bytes, kernel->assembly_sum, message)
                    : read_file(folder, kernel->code, kernel->code_bytes, kernel->code_sum, message);
        int failed = !code || check(cuModuleLoadData(&program->modules[i], code), kernel->name, message) ||
                     check(cuModuleGetFunction(&program->functions[i], program->modules[i], kernel->name), kernel->name,
                           message);
        int registers;
        free(code);
        /* The driver loads code when it is first asked about it, which must not be while a step is captured. */
        if (failed || check(cuFuncGetAttribute(&registers, CU_FUNC_ATTRIBUTE_NUM_REGS, program->functions[i]),
                            kernel->name, message))
            return 1;
        /* A launch may have 48 kB of shared memory, and more only where it was asked for. */
        if (kernel->shared > 48 << 10 &&
            check(cuFuncSetAttribute(program->functions[i], CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                     (int)kernel->shared),
                  kernel->name, message))
            return 1;
    }
    return 0;
}

static int launch(netc_program *program, size_t first, size_t count, char *message) {
    CUdeviceptr pointers[MOST_ARGUMENTS + EXTRA];
    void *arguments[MOST_ARGUMENTS + EXTRA];
    for (size_t i = first; i < first + count; i++) {
        const netc_launch *one = &program->on->launches[i];
        const netc_kernel *kernel = &program->on->kernels[one->kernel];
        for (size_t k = 0; k < one->count + EXTRA; k++) {
            pointers[k] = k < one->count ? program->memory + program->on->offsets[one->first + k] : 0;
            arguments[k] = &pointers[k];
        }
        /* Behind the arguments come triton's own: scratch memory, and that of its profiler, which is not used. */
        pointers[one->count] = program->memory + program->on->scratch;
        if (check(cuLaunchKernel(program->functions[one->kernel], one->grid[0], one->grid[1], one->grid[2],
                                 kernel->threads, 1, 1, kernel->shared, program->stream, arguments, NULL),
                  kernel->name, message))
            return 1;
    }
    return 0;
}

/* The launches of a step become one graph, which the device replays by itself. */
static int capture(netc_program *program, char *message) {
    CUgraph graph = NULL;
    int failed;
    if (check(cuStreamBeginCapture(program->stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "capturing", message)) return 1;
    failed = launch(program, program->on->prepare_count, program->on->step_count, message);
    if (cuStreamEndCapture(program->stream, &graph) != CUDA_SUCCESS && !failed)
        failed = fail(message, "the step cannot be captured as a graph");
    if (!failed) failed = check(cuGraphInstantiateWithFlags(&program->step, graph, 0), "making a graph", message);
    if (graph) cuGraphDestroy(graph);
    return failed;
}

static int start(netc_program *program, const char *folder, int device, char *message) {
    int major = 0, minor = 0, compile = 0;
    if (check(cuInit(0), "CUDA", message) || check(cuDeviceGet(&program->device, device), "the device", message) ||
        check(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, program->device), "the device",
              message) ||
        check(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, program->device), "the device",
              message))
        return 1;
    program->on = choose(10 * major + minor, &compile);
    if (!program->on) return fail(message, "not compiled for a device of compute capability %d.%d", major, minor);
    program->modules = calloc(program->on->kernel_count, sizeof *program->modules);
    program->functions = calloc(program->on->kernel_count, sizeof *program->functions);
    if (!program->modules || !program->functions) return fail(message, "there is not enough memory");
    if (check(cuDevicePrimaryCtxRetain(&program->context, program->device), "the device", message)) return 1;
    program->retained = 1;
    return check(cuCtxSetCurrent(program->context), "the device", message) ||
           load_kernels(program, folder, compile, message) ||
           check(cuStreamCreate(&program->stream, CU_STREAM_DEFAULT), "a stream", message) ||
           check(cuMemAlloc(&program->memory, program->on->memory), "memory of the device", message) ||
           check(cuMemsetD8(program->memory, 0, program->on->memory), "memory of the device", message) ||
           load_weights(program, folder, message) || capture(program, message);
}

int netc_open(netc_program **program, const char *folder, int device, char *message) {
    *program = calloc(1, sizeof **program);
    if (!*program) return fail(message, "there is not enough memory");
    (*program)->stale = 1;
    if (!start(*program, folder, device, message)) return 0;
    netc_close(*program);
    *program = NULL;
    return 1;
}

void netc_close(netc_program *program) {
    if (!program) return;
    if (program->retained && cuCtxSetCurrent(program->context) == CUDA_SUCCESS) {
        if (program->step) cuGraphExecDestroy(program->step);
        if (program->stream) cuStreamDestroy(program->stream);
        if (program->memory) cuMemFree(program->memory);
        for (size_t i = 0; i < program->on->kernel_count; i++)
            if (program->modules[i]) cuModuleUnload(program->modules[i]);
    }
    if (program->retained) cuDevicePrimaryCtxRelease(program->device);
    free(program->modules);
    free(program->functions);
    free(program);
}

const netc_value *netc_at(const netc_program *program, size_t number) {
    return number < program->on->place_count ? &program->on->places[number].about : NULL;
}

const netc_value *netc_find(const netc_program *program, const char *name) {
    for (size_t i = 0; i < program->on->place_count; i++)
        if (!strcmp(program->on->places[i].about.name, name)) return &program->on->places[i].about;
    return NULL;
}

/* The place of a value; `about` is its first member. */
static const netc_place *place_of(netc_program *program, const char *name, size_t bytes, char *message) {
    const netc_value *found = netc_find(program, name);
    if (!found) {
        fail(message, "there is no value `%s`", name);
    } else if (found->bytes != bytes) {
        fail(message, "`%s` has %zu bytes, %zu are given", name, found->bytes, bytes);
    } else if (!check(cuCtxSetCurrent(program->context), "the device", message)) {
        return (const netc_place *)found;
    }
    return NULL;
}

/* A number of an array, by its element type. */
static double number_at(const char *dtype, const void *data, size_t i) {
    if (!strcmp(dtype, "i32")) return ((const int32_t *)data)[i];
    if (!strcmp(dtype, "i64")) return (double)((const int64_t *)data)[i];
    if (!strcmp(dtype, "u8")) return ((const uint8_t *)data)[i];
    if (!strcmp(dtype, "f32")) return ((const float *)data)[i];
    if (!strcmp(dtype, "f64")) return ((const double *)data)[i];
    return 0;
}

static int check_range(const netc_range *range, const netc_place *place, const void *data, char *message) {
    for (size_t i = 0; i < place->about.bytes / place->element; i++) {
        double x = number_at(place->about.dtype, data, i);
        if (x > -1 && x < range->count) continue;
        if (range->ignores && x > range->ignored - 1 && x < range->ignored + 1) continue;
        return fail(message, "%s holds the %s %g; %s knows the %g %s 0 to %g", range->input,
                    strcmp(range->what, "classes") ? "index" : "label", x, range->reader, range->count, range->what,
                    range->count - 1);
    }
    return 0;
}

int netc_set(netc_program *program, const char *name, const void *data, size_t bytes, char *message) {
    const netc_place *place = place_of(program, name, bytes, message);
    if (!place) return 1;
    if (place->about.kind == NETC_OUTPUT || !place->packed) return fail(message, "`%s` is not to be set", name);
    for (size_t i = 0; place->about.kind == NETC_INPUT && i < range_count; i++)
        if (!strcmp(ranges[i].input, name) && check_range(&ranges[i], place, data, message)) return 1;
    if (place->about.kind == NETC_STATE) program->stale = 1;
    return bytes && check(cuMemcpyHtoD(program->memory + place->offset, data, bytes), name, message);
}

int netc_step(netc_program *program, char *message) {
    if (check(cuCtxSetCurrent(program->context), "the device", message)) return 1;
    if (program->stale && launch(program, 0, program->on->prepare_count, message)) return 1;
    program->stale = 0;
    return check(cuGraphLaunch(program->step, program->stream), "the step", message);
}

/* The elements of a value in row-major order, out of memory that has them in another one. */
static void gather(const netc_place *place, const unsigned char *from, unsigned char *to) {
    size_t index[NETC_RANK] = {0}, at = 0, count = place->about.bytes / place->element;
    for (size_t i = 0; i < count; i++) {
        memcpy(to + i * place->element, from + at * place->element, place->element);
        for (int axis = place->about.rank - 1; axis >= 0; axis--) {
            at += place->strides[axis];
            if (++index[axis] < place->about.shape[axis]) break;
            at -= index[axis] * place->strides[axis];
            index[axis] = 0;
        }
    }
}

/* The flags of numbers that the net computed: not below 0 where a layer was given some that it cannot know. */
static int check_flags(netc_program *program, char *message) {
    for (size_t i = 0; i < range_count; i++) {
        const netc_range *range = &ranges[i];
        const netc_value *flag = netc_find(program, range->input);
        int32_t set = -1;
        if (!flag || flag->kind != NETC_OUTPUT || flag->bytes != sizeof set) continue;
        if (check(cuMemcpyDtoH(&set, program->memory + ((const netc_place *)flag)->offset, sizeof set), range->input,
                  message))
            return 1;
        if (set >= 0)
            return fail(message, "%s was given %s outside of the %g %s 0 to %g", range->reader,
                        strcmp(range->what, "classes") ? "an index" : "a label", range->count, range->what,
                        range->count - 1);
    }
    return 0;
}

int netc_get(netc_program *program, const char *name, void *data, size_t bytes, char *message) {
    const netc_place *place = place_of(program, name, bytes, message);
    size_t last = 0;
    unsigned char *span;
    int failed;
    if (!place || check(cuStreamSynchronize(program->stream), "the step", message)) return 1;
    if (place->about.kind == NETC_OUTPUT && check_flags(program, message)) return 1;
    if (!bytes) return 0;
    if (place->packed) return check(cuMemcpyDtoH(data, program->memory + place->offset, bytes), name, message);
    for (int axis = 0; axis < place->about.rank; axis++) last += (place->about.shape[axis] - 1) * place->strides[axis];
    span = malloc((last + 1) * place->element);
    if (!span) return fail(message, "there is not enough memory");
    failed = check(cuMemcpyDtoH(span, program->memory + place->offset, (last + 1) * place->element), name, message);
    if (!failed) gather(place, span, data);
    free(span);
    return failed;
}

const char *netc_label(size_t number, size_t classes) {
    return classes == label_count && number < label_count ? labels[number] : NULL;
}

static const netc_rule *rule_of(const char *input) {
    for (size_t i = 0; i < rule_count; i++)
        if (!strcmp(rules[i].input, input)) return &rules[i];
    return NULL;
}

const char *netc_rule_of(const char *input) {
    const netc_rule *rule = rule_of(input);
    return rule ? rule->text : NULL;
}

/* Sizes of the first record of an input, counted from the end: of an element, a row, a channel. */
static void sizes_of(int rank, const size_t *shape, size_t *width, size_t *height, size_t *channels) {
    *width = rank > 0 ? shape[rank - 1] : 1;
    *height = rank > 1 ? shape[rank - 2] : 1;
    *channels = 1;
    for (int i = 0; i < rank - 2; i++) *channels *= shape[i];
}

int netc_set_image(netc_program *program, const char *path, char *message) {
    const netc_value *input = NULL;
    const netc_rule *rule;
    size_t inputs = 0, pixels, width, height, channels, wide, high, deep;
    FILE *file;
    unsigned char *raw;
    float *values;
    int failed = 1;
    for (size_t i = 0; i < program->on->place_count; i++) {
        const netc_value *one = netc_at(program, i);
        if (one->kind != NETC_INPUT || one->rank < 3 || strcmp(one->dtype, "f32")) continue;
        input = one;
        inputs++;
    }
    if (inputs != 1) return fail(message, "the net has %zu inputs of images, not one", inputs);
    rule = rule_of(input->name);
    sizes_of(input->rank - 1, input->shape + 1, &width, &height, &channels);
    sizes_of(input->rank - 1, input->shape + 1, &wide, &high, &deep);
    if (rule) sizes_of(rule->rank, rule->record, &wide, &high, &deep);
    if (deep != channels || wide < width || high < height) return fail(message, "records do not fit `%s`", input->name);
    pixels = wide * high * deep;
    file = fopen(path, "rb");
    if (!file) return fail(message, "%s cannot be read", path);
    raw = malloc(4 * pixels + 1);
    values = calloc(input->bytes, 1);
    if (!raw || !values) {
        fail(message, "there is not enough memory");
    } else {
        size_t taken = fread(raw, 1, 4 * pixels + 1, file), count = width * height * channels;
        failed = taken != pixels && taken != 4 * pixels;
        if (failed)
            fail(message, "%s has not the %zu bytes of pixels, nor the %zu of f32 values", path, pixels, 4 * pixels);
        for (size_t i = 0; !failed && i < count; i++) {
            size_t x = i % width + (wide - width) / 2, y = i / width % height + (high - height) / 2;
            size_t from = (i / (width * height) * high + y) * wide + x;
            float value = raw[from];
            if (taken == 4 * pixels) memcpy(&value, raw + 4 * from, sizeof value);
            values[i] = rule ? (value - rule->mean[i / (count / rule->means)]) * rule->scale : value;
        }
    }
    if (!failed) failed = netc_set(program, input->name, values, input->bytes, message);
    free(values);
    free(raw);
    fclose(file);
    return failed;
}
