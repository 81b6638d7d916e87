/* NET as C, compiled by netc: create it, set inputs by name, step, get outputs by name.
 *
 * Every call returns NET_OK or another status, which NET_message puts into words. After NET_create nothing is
 * allocated. There is no global state: several nets may be used at once, each by one thread at a time. Values are
 * row-major, in the element types of their tables.
 */
#ifndef NET_H
#define NET_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct NET_net NET_net;

enum NET_status {
    NET_OK,
    NET_NO_MEMORY,
    NET_NO_WEIGHTS,    /* their file cannot be read */
    NET_OTHER_WEIGHTS, /* it is not the file that was compiled with this program */
    NET_NO_VALUE,      /* no input, output or state has this name, or it is not to be set */
    NET_OTHER_SIZE,
    NET_OTHER_NUMBER, /* a label or an index that a layer cannot know */
    NET_NO_IMAGES     /* the net has no input of images, of one channel or three, or no such record */
};

enum NET_kind { NET_INPUT, NET_OUTPUT, NET_STATE };
enum { NET_RANK = 8 };

/* An input, an output, or a buffer of state. dtype: f64 f32 f16 bf16 i64 i32 u32 u8 bool. */
typedef struct {
    const char *name;
    enum NET_kind kind;
    const char *dtype;
    int rank;
    size_t shape[NET_RANK];
    size_t bytes;
} NET_value;

/* What went wrong, in a line. */
const char *NET_message(int status);

/* The values by number, from 0 on, and by name; NULL where there is none. */
const NET_value *NET_at(size_t number);
const NET_value *NET_find(const char *name);

/* Make a net. weights: the path of its file (`weights.bin`); of no use where they are in the program. threads: how many
 * share the work of a step, if it was compiled with OpenMP; they change no bit. */
int NET_create(NET_net **net, const char *weights, int threads);

/* Give an input or a buffer of state all its values. Inputs that were never set are zero. */
int NET_set(NET_net *net, const char *name, const void *data, size_t bytes);

/* Give the only input of images a record: pixels [height][width][channels] of any size, of one channel or three (red,
 * green, blue). They are resized, and treated as those that the net was tested on (NET_rule). */
int NET_set_image(
    NET_net *net, size_t record, const unsigned char *pixels, size_t height, size_t width, size_t channels
);

/* The input of images that NET_set_image sets, or NULL; and what is done to its values, in a line, or NULL. */
const NET_value *NET_images(void);
const char *NET_rule(void);

/* Run the net, or a step of training: that updates its state. */
int NET_step(NET_net *net);

/* Copy a value out. */
int NET_get(const NET_net *net, const char *name, void *data, size_t bytes);

/* The name of a class, of so many; NULL where the net has none for them. */
const char *NET_label(size_t number, size_t classes);

/* Free everything; a NULL is nothing to free. */
void NET_destroy(NET_net *net);

#ifdef __cplusplus
}
#endif
#endif
