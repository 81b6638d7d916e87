/* Classifies a raw image: `classify FOLDER IMAGE` prints the five most probable classes. */
#include "netc_program.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **arguments) {
    char message[NETC_MESSAGE] = "usage: classify FOLDER IMAGE";
    netc_program *net = NULL;
    const netc_value *output = NULL;
    float *prob = NULL;
    int failed = count != 3 || netc_open(&net, arguments[1], 0, message) || netc_set_image(net, arguments[2], message);
    if (!failed) {
        output = netc_find(net, "prob");
        failed = !output || output->kind != NETC_OUTPUT || output->rank != 2 || strcmp(output->dtype, "f32");
        if (failed) strcpy(message, "the net has no output `prob` of f32[images, classes]");
    }
    if (!failed) {
        prob = malloc(output->bytes);
        if (!prob) strcpy(message, "there is not enough memory");
        failed = !prob || netc_step(net, message) || netc_get(net, "prob", prob, output->bytes, message);
    }
    for (size_t i = 0; !failed && netc_at(net, i); i++)
        if (netc_rule_of(netc_at(net, i)->name))
            fprintf(stderr, "%s: %s\n", netc_at(net, i)->name, netc_rule_of(netc_at(net, i)->name));
    for (size_t place = 0; !failed && place < 5 && place < output->shape[1]; place++) {
        size_t best = 0;
        for (size_t k = 1; k < output->shape[1]; k++)
            if (prob[k] > prob[best]) best = k;
        if (netc_label(best, output->shape[1]))
            printf("%s %.4f\n", netc_label(best, output->shape[1]), prob[best]);
        else
            printf("%zu %.4f\n", best, prob[best]);
        prob[best] = -1;
    }
    if (failed) fprintf(stderr, "%s: %s\n", arguments[0], message);
    free(prob);
    netc_close(net);
    return failed ? 2 : 0;
}
