/* Images of files as pixels, with the C library alone: JPEG (baseline), PNG (8 bits, not interlaced), BMP (24 and 32
 * bits), PPM and PGM (binary, 8 bits). Files are taken for anybody's: sizes are checked before memory is asked for. */
#ifndef NETC_IMAGE_H
#define NETC_IMAGE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { NETC_IMAGE_PIXELS = 1 << 26, NETC_IMAGE_BYTES = 1 << 28 };

/* Bytes [height][width][channels], of one channel (gray) or three (red, green, blue). */
typedef struct {
    unsigned char *pixels;
    size_t height, width, channels;
} netc_image;

/* Read a file, or one that is in memory: NULL, or a line about what is wrong with it. */
const char *netc_image_read(netc_image *image, const char *path);
const char *netc_image_decode(netc_image *image, const unsigned char *data, size_t bytes);

/* Free the pixels. */
void netc_image_free(netc_image *image);

/* Of a JPEG in memory: opened, its size; then its pixels, of three channels. */
typedef struct netc_jpeg netc_jpeg;
const char *netc_jpeg_open(netc_jpeg **jpeg, const unsigned char *data, size_t bytes, size_t *height, size_t *width);
void netc_jpeg_pixels(const netc_jpeg *jpeg, unsigned char *pixels);
void netc_jpeg_close(netc_jpeg *jpeg);

#ifdef __cplusplus
}
#endif
#endif
