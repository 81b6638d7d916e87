/* A stand-in for CUDA's driver, for tests on machines without a GPU: memory is the host's, calls are recorded, and the
 * kernels of tests/tiny_net.py are computed here by hand; others are only recorded.
 *
 * FAKE_CUDA_RECORD: the file that the calls are written to. FAKE_CUDA_CAPABILITY: 90 without it. FAKE_CUDA_FAIL: the
 * name of a call that fails. FAKE_CUDA_ARGUMENTS: `name:count,...`, how many arguments kernels take.
 */
#define _GNU_SOURCE
#include <cuda.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 16, LAUNCHES = 4096 };

struct CUmod_st {
    const char *image;
    size_t bytes;
};
struct CUfunc_st {
    char name[128];
    int shared, loaded;
};
struct launched {
    CUfunction function;
    unsigned grid[3], block[3], shared;
    uint64_t arguments[MOST];
    int count;
};

static FILE *record;
static char *base;
static size_t size;
static int retained, modules, streams, graphs, current, capturing;
static struct launched captured[LAUNCHES];
static int captured_count;

static void note(const char *format, const char *text) {
    const char *path = getenv("FAKE_CUDA_RECORD");
    if (!record && path) record = fopen(path, "w");
    if (!record) return;
    fprintf(record, format, text);
    fflush(record);
}

static int fails(const char *name) {
    const char *wanted = getenv("FAKE_CUDA_FAIL");
    return wanted && !strcmp(wanted, name);
}
#define CALLED(name)                                        \
    do {                                                    \
        if (fails(#name)) return CUDA_ERROR_OUT_OF_MEMORY;  \
        if (strcmp(#name, "cuInit") && !retained && strncmp(#name, "cuDevice", 8)) return CUDA_ERROR_INVALID_CONTEXT; \
    } while (0)

__attribute__((destructor)) static void report(void) {
    char text[200];
    snprintf(text, sizeof text, "memory %d, modules %d, streams %d, graphs %d, contexts %d", base != NULL, modules,
             streams, graphs, retained);
    note("left: %s\n", text);
}

CUresult cuInit(unsigned flags) {
    CALLED(cuInit);
    return flags ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = error == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : "something else";
    return CUDA_SUCCESS;
}
/* What HIP has and CUDA has not, or otherwise: tests rename these, and the calls that are alike. */
int fake_set_device(int device) {
    retained = current = 1;
    return device;
}
const char *fake_error(CUresult error) { return error == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : "something else"; }
CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    CALLED(cuDeviceGet);
    *device = ordinal;
    return ordinal ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    const char *given = getenv("FAKE_CUDA_CAPABILITY");
    int capability = given ? atoi(given) : 90;
    (void)device;
    if (attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) *value = capability / 10;
    else if (attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR) *value = capability % 10;
    else return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    (void)device;
    if (fails("cuDevicePrimaryCtxRetain")) return CUDA_ERROR_OUT_OF_MEMORY;
    retained++;
    *context = (CUcontext)&retained;
    return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
    (void)device;
    retained--;
    return CUDA_SUCCESS;
}
CUresult cuCtxSetCurrent(CUcontext context) {
    CALLED(cuCtxSetCurrent);
    current = context == (CUcontext)&retained;
    return current ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}
CUresult cuCtxSynchronize(void) {
    CALLED(cuCtxSynchronize);
    return CUDA_SUCCESS;
}

/* The bytes of a machine code's file: up to the end of its table of sections. */
static size_t elf_bytes(const char *image) {
    uint64_t table;
    uint16_t entry, count;
    memcpy(&table, image + 40, 8);
    memcpy(&entry, image + 58, 2);
    memcpy(&count, image + 60, 2);
    return table + (size_t)entry * count;
}
CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    int elf = !memcmp(image, "\177ELF", 4);
    CALLED(cuModuleLoadData);
    if (!elf && !strstr(image, ".visible .entry")) return CUDA_ERROR_INVALID_IMAGE;
    *module = calloc(1, sizeof **module);
    (*module)->bytes = elf ? elf_bytes(image) : strlen(image);
    char *copy = malloc((*module)->bytes);
    memcpy(copy, image, (*module)->bytes);
    (*module)->image = copy;
    modules++;
    note("load %s\n", elf ? "cubin" : "ptx");
    return CUDA_SUCCESS;
}
CUresult cuModuleUnload(CUmodule module) {
    free((void *)module->image);
    free(module);
    modules--;
    return CUDA_SUCCESS;
}
static struct CUfunc_st functions[1024];
static int function_count;
CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    CALLED(cuModuleGetFunction);
    if (!memmem(module->image, module->bytes, name, strlen(name))) return CUDA_ERROR_NOT_FOUND;
    *function = &functions[function_count++ % 1024];
    (*function)->shared = 48 << 10;
    snprintf((*function)->name, sizeof (*function)->name, "%s", name);
    return CUDA_SUCCESS;
}
CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
    CALLED(cuFuncGetAttribute);
    if (attribute != CU_FUNC_ATTRIBUTE_NUM_REGS) return CUDA_ERROR_INVALID_VALUE;
    *value = function->loaded = 32;
    return CUDA_SUCCESS;
}
CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    CALLED(cuFuncSetAttribute);
    if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_ERROR_INVALID_VALUE;
    function->shared = value;
    return CUDA_SUCCESS;
}
CUresult cuMemAlloc(CUdeviceptr *pointer, size_t bytes) {
    CALLED(cuMemAlloc);
    if (base || !bytes) return CUDA_ERROR_INVALID_VALUE;
    base = aligned_alloc(256, (bytes + 255) / 256 * 256);
    memset(base, 0xFF, bytes);
    size = bytes;
    *pointer = (CUdeviceptr)base;
    return CUDA_SUCCESS;
}
CUresult cuMemFree(CUdeviceptr pointer) {
    if (pointer != (CUdeviceptr)base) return CUDA_ERROR_INVALID_VALUE;
    free(base);
    base = NULL;
    return CUDA_SUCCESS;
}
static int inside(CUdeviceptr pointer, size_t bytes) {
    return pointer >= (CUdeviceptr)base && pointer + bytes <= (CUdeviceptr)base + size;
}
CUresult cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) {
    CALLED(cuMemcpyHtoD);
    if (!inside(to, bytes)) return CUDA_ERROR_INVALID_VALUE;
    memcpy((void *)to, from, bytes);
    return CUDA_SUCCESS;
}
CUresult cuMemcpyDtoH(void *to, CUdeviceptr from, size_t bytes) {
    CALLED(cuMemcpyDtoH);
    if (!inside(from, bytes)) return CUDA_ERROR_INVALID_VALUE;
    memcpy(to, (void *)from, bytes);
    return CUDA_SUCCESS;
}
CUresult cuMemsetD8(CUdeviceptr to, unsigned char value, size_t bytes) {
    CALLED(cuMemsetD8);
    if (!inside(to, bytes)) return CUDA_ERROR_INVALID_VALUE;
    memset((void *)to, value, bytes);
    return CUDA_SUCCESS;
}
CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
    CALLED(cuStreamCreate);
    if (flags != CU_STREAM_DEFAULT) return CUDA_ERROR_INVALID_VALUE;
    *stream = (CUstream)&streams;
    streams++;
    return CUDA_SUCCESS;
}
CUresult cuStreamDestroy(CUstream stream) {
    (void)stream;
    streams--;
    return CUDA_SUCCESS;
}
CUresult cuStreamSynchronize(CUstream stream) {
    (void)stream;
    CALLED(cuStreamSynchronize);
    return CUDA_SUCCESS;
}
CUresult cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode mode) {
    CALLED(cuStreamBeginCapture);
    if (!stream || mode != CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) return CUDA_ERROR_INVALID_VALUE;
    capturing = 1;
    return CUDA_SUCCESS;
}
CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
    (void)stream;
    capturing = 0;
    graphs++;
    *graph = (CUgraph)&graphs;
    return CUDA_SUCCESS;
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags) {
    CALLED(cuGraphInstantiateWithFlags);
    if (!graph || flags) return CUDA_ERROR_INVALID_VALUE;
    *exec = (CUgraphExec)&graphs;
    graphs++;
    return CUDA_SUCCESS;
}
CUresult cuGraphDestroy(CUgraph graph) {
    (void)graph;
    graphs--;
    return CUDA_SUCCESS;
}
CUresult cuGraphExecDestroy(CUgraphExec exec) {
    (void)exec;
    graphs--;
    return CUDA_SUCCESS;
}

/* How many arguments a kernel takes, as the test says. */
static int argument_count(const char *name) {
    const char *table = getenv("FAKE_CUDA_ARGUMENTS");
    char key[160];
    snprintf(key, sizeof key, ",%s:", name);
    const char *found = table ? strstr(table, key) : NULL;
    int count = found ? atoi(found + strlen(key)) : 0;
    return count > MOST ? MOST : count;
}

/* What the kernels of the hand-written net compute. */
static void compute(const struct launched *one) {
    float *a[MOST];
    for (int i = 0; i < one->count; i++) a[i] = (float *)one->arguments[i];
    const char *name = one->function->name;
    if (!strcmp(name, "double"))
        for (int i = 0; i < 640; i++) a[1][i] = 2 * a[0][i];
    if (!strcmp(name, "center"))
        for (int i = 0; i < 256; i++) a[1][i] = a[0][i] - 0.5f;
    if (!strcmp(name, "score"))
        for (int m = 0; m < 4; m++)
            for (int n = 0; n < 10; n++) {
                float sum = a[2][n];
                for (int k = 0; k < 64; k++) sum += a[0][64 * m + k] * a[1][64 * n + k];
                a[3][10 * m + n] = sum;
            }
    if (!strcmp(name, "softmax"))
        for (int m = 0; m < 4; m++) {
            float most = -INFINITY, sum = 0;
            for (int n = 0; n < 10; n++) most = fmaxf(most, a[0][10 * m + n]);
            for (int n = 0; n < 10; n++) sum += a[1][10 * m + n] = expf(a[0][10 * m + n] - most);
            for (int n = 0; n < 10; n++) a[1][10 * m + n] /= sum;
        }
    if (!strcmp(name, "update"))
        for (int i = 0; i < 650; i++) a[0][i] -= *a[1] * a[0][i];
    if (!strcmp(name, "count")) ++*(int64_t *)one->arguments[0];
}
static void run(const struct launched *one) {
    char text[1000];
    int at = snprintf(text, sizeof text, "%s grid %u %u %u block %u %u %u shared %u at", one->function->name,
                      one->grid[0], one->grid[1], one->grid[2], one->block[0], one->block[1], one->block[2], one->shared);
    for (int i = 0; i < one->count; i++)
        at += snprintf(text + at, sizeof text - at, " %llu", (unsigned long long)(one->arguments[i] - (uint64_t)base));
    note("launch %s\n", text);
    compute(one);
}
CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                        unsigned bz, unsigned shared, CUstream stream, void **arguments, void **extra) {
    CALLED(cuLaunchKernel);
    struct launched one = {function, {gx, gy, gz}, {bx, by, bz}, shared, {0}, argument_count(function->name)};
    if ((int)shared > function->shared || !gx || !gy || !gz || bx * by * bz > 1024 || extra || !current)
        return CUDA_ERROR_INVALID_VALUE;
    if (capturing && (!stream || !function->loaded)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    for (int i = 0; i < one.count; i++) {
        memcpy(&one.arguments[i], arguments[i], 8);
        if (!inside(one.arguments[i], 1)) return CUDA_ERROR_ILLEGAL_ADDRESS;
    }
    /* Triton's own two arguments must be there as well. */
    uint64_t scratch, profile;
    memcpy(&scratch, arguments[one.count], 8);
    memcpy(&profile, arguments[one.count + 1], 8);
    if (scratch < (uint64_t)base || scratch > (uint64_t)base + size || profile) return CUDA_ERROR_INVALID_VALUE;
    if (!capturing) run(&one);
    else captured[captured_count++ % LAUNCHES] = one;
    return CUDA_SUCCESS;
}
CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
    CALLED(cuGraphLaunch);
    if (!exec || !stream) return CUDA_ERROR_INVALID_VALUE;
    note("graph of %s\n", "the step");
    for (int i = 0; i < captured_count; i++) run(&captured[i]);
    return CUDA_SUCCESS;
}
