/* A net compiled by netc, run through the CUDA driver: open a folder, set inputs by name, step, get outputs by name.
 *
 * Every call returns 0, or 1 with a line about what went wrong in `message`, an array of NETC_MESSAGE characters.
 * A program belongs to one thread at a time. Values are row-major, in the element types of their tables.
 */
#ifndef NETC_PROGRAM_H
#define NETC_PROGRAM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NETC_MESSAGE 400
#define NETC_RANK 8

typedef struct netc_program netc_program;

enum netc_kind { NETC_INPUT, NETC_OUTPUT, NETC_STATE };

/* An input, an output, or a buffer of state. dtype: f64 f32 f16 bf16 i64 i32 u32 u8 bool. */
typedef struct {
    const char *name;
    enum netc_kind kind;
    const char *dtype;
    int rank;
    size_t shape[NETC_RANK];
    size_t bytes;
} netc_value;

/* Load the kernels for a device (0 is the first) and the weights from the folder that `netc compile` wrote. */
int netc_open(netc_program **program, const char *folder, int device, char *message);

/* The values of a program by number, from 0 on, and by name; NULL where there is none. */
const netc_value *netc_at(const netc_program *program, size_t number);
const netc_value *netc_find(const netc_program *program, const char *name);

/* Give an input or a buffer of state all its values. Inputs that were never set are zero. Labels and indices that a layer
 * cannot know are refused. */
int netc_set(netc_program *program, const char *name, const void *data, size_t bytes, char *message);

/* Queue all kernels of a step; state is updated in place. Does not wait for them. */
int netc_step(netc_program *program, char *message);

/* Wait for the steps, and copy a value out. An error for an output of a step in which a layer was given labels or indices
 * that it cannot know, which the net computed. */
int netc_get(netc_program *program, const char *name, void *data, size_t bytes, char *message);

/* Give the only input of images the image of a raw file, as its first record: u8 pixels or f32 values (channels, rows,
 * columns), of which scale, mean and crop are taken as of those that the net was tested on. `netc_set` takes values as
 * the net does. */
int netc_set_image(netc_program *program, const char *path, char *message);

/* What `netc_set_image` does to the values of an input, in a line; NULL where it does nothing. */
const char *netc_rule_of(const char *input);

/* The name of a class, of so many; NULL where the net has none for them. */
const char *netc_label(size_t number, size_t classes);

/* Free everything; a NULL is nothing to free. */
void netc_close(netc_program *program);

#ifdef __cplusplus
}
#endif
#endif
