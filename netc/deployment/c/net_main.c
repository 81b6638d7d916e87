/* NET on the command line: classifies images, or runs on raw files, one for each input. The C library is all it needs. */
#include "NET.h"
#include "netc_image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 5 };

static int fail(const char *about, const char *reason) {
    fprintf(stderr, "%s: %s\n", about, reason);
    return 2;
}

static void usage(const char *program) {
    fprintf(stderr, "usage: %s [--weights FILE] [--threads N] %s\n", program,
            NET_images() ? "IMAGE..." : "FILE...  (raw values, a file for each input)");
    if (NET_rule()) fprintf(stderr, "%s: %s\n", NET_images()->name, NET_rule());
    for (size_t i = 0; NET_at(i); i++)
        if (NET_at(i)->kind != NET_STATE)
            fprintf(stderr, "%s %s: %s, %zu bytes\n", NET_at(i)->kind == NET_INPUT ? "input" : "output", NET_at(i)->name,
                    NET_at(i)->dtype, NET_at(i)->bytes);
}

/* The largest values of a row. */
static void show(const NET_value *output, const char *name, const float *row, size_t count) {
    static const size_t most = 1 << 16;
    char taken[1 << 16] = {0};
    if (count == 1) {
        printf("%s: %s: %.6g\n", name, output->name, row[0]);
        return;
    }
    if (count > most) {
        printf("%s: %s: %zu values, the first %.6g\n", name, output->name, count, row[0]);
        return;
    }
    for (size_t place = 0; place < SHOWN && place < count; place++) {
        size_t best = count;
        const char *label;
        for (size_t k = 0; k < count; k++)
            if (!taken[k] && (best == count || row[k] > row[best])) best = k;
        taken[best] = 1;
        label = NET_label(best, count);
        if (label)
            printf("%s: %s: %s %.4f\n", name, output->name, label, row[best]);
        else
            printf("%s: %s: %zu %.4f\n", name, output->name, best, row[best]);
    }
}

/* The f32 outputs of so many records; names: of the files, or of none where rows have numbers. */
static int outputs(const NET_net *net, char *const *names, size_t records) {
    for (size_t i = 0; NET_at(i); i++) {
        const NET_value *one = NET_at(i);
        size_t rows = one->rank ? one->shape[0] : 1;
        float *values;
        int status;
        if (one->kind != NET_OUTPUT || strcmp(one->dtype, "f32") || !one->bytes || *one->name == '.') continue;
        values = malloc(one->bytes);
        if (!values) return NET_NO_MEMORY;
        status = NET_get(net, one->name, values, one->bytes);
        for (size_t k = 0; status == NET_OK && k < records && k < rows; k++) {
            size_t size = one->bytes / sizeof(float) / rows;
            char number[32];
            snprintf(number, sizeof number, "%zu", k);
            show(one, names ? names[k] : number, values + k * size, size);
        }
        free(values);
        if (status != NET_OK) return status;
    }
    return NET_OK;
}

static int classify(NET_net *net, char **paths, size_t count) {
    const size_t batch = NET_images()->shape[0];
    for (size_t first = 0; first < count; first += batch) {
        size_t here = count - first < batch ? count - first : batch;
        int status = NET_OK;
        for (size_t k = 0; k < here; k++) {
            netc_image image;
            const char *wrong = netc_image_read(&image, paths[first + k]);
            if (wrong) return fail(paths[first + k], wrong);
            status = NET_set_image(net, k, image.pixels, image.height, image.width, image.channels);
            netc_image_free(&image);
            if (status != NET_OK) return fail(paths[first + k], NET_message(status));
        }
        status = NET_step(net);
        if (status == NET_OK) status = outputs(net, paths + first, here);
        if (status != NET_OK) return fail(paths[first], NET_message(status));
    }
    return 0;
}

static int run(NET_net *net, char **paths, size_t count) {
    size_t given = 0;
    int status;
    for (size_t i = 0; NET_at(i); i++) {
        const NET_value *one = NET_at(i);
        FILE *file;
        void *data;
        size_t taken;
        if (one->kind != NET_INPUT) continue;
        if (given == count) return fail(one->name, "there is no file for this input");
        file = fopen(paths[given], "rb");
        if (!file) return fail(paths[given], "the file cannot be read");
        data = malloc(one->bytes + 1);
        taken = data ? fread(data, 1, one->bytes + 1, file) : 0;
        status = !data ? NET_NO_MEMORY : taken != one->bytes ? NET_OTHER_SIZE : NET_set(net, one->name, data, taken);
        free(data);
        fclose(file);
        if (status != NET_OK) return fail(paths[given], NET_message(status));
        given++;
    }
    status = NET_step(net);
    if (status == NET_OK) status = outputs(net, NULL, (size_t)-1);
    return status == NET_OK ? 0 : fail(paths[0], NET_message(status));
}

int main(int count, char **arguments) {
    const char *weights = "weights.bin";
    int threads = 1, at = 1, status;
    NET_net *net = NULL;
    for (; at + 1 < count && !strncmp(arguments[at], "--", 2); at += 2) {
        if (!strcmp(arguments[at], "--weights"))
            weights = arguments[at + 1];
        else if (!strcmp(arguments[at], "--threads"))
            threads = atoi(arguments[at + 1]);
        else
            break;
    }
    if (at >= count || !strncmp(arguments[at], "--", 2)) {
        usage(arguments[0]);
        return 2;
    }
    status = NET_create(&net, weights, threads);
    if (status != NET_OK) return fail(weights, NET_message(status));
    status = (NET_images() ? classify : run)(net, arguments + at, (size_t)(count - at));
    NET_destroy(net);
    return status;
}
