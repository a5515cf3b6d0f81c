/* What the flow file says. */
#ifndef CONFIG_H
#define CONFIG_H

#include "decode.h"

typedef enum framing { FIXED, LINES, RDW, RDW_PAYLOAD, RDW_LITTLE } framing;

#define MOST_KEYS 8

typedef struct settings {
    const char **patterns;
    size_t pattern_count;
    copybook book;
    field *only;        /* the one layout... */
    decision *layouts;  /* ...or what decides between several */
    framing framing;
    uint32_t length;    /* of a record that is FIXED */
    uint32_t skip;      /* records at the start of every file */
    const char *stream; /* NULL: each layout has its own */
    const char *keys[MOST_KEYS];
    size_t key_count;
    uint32_t most_bytes;
    decoder decoder;
} settings;

/* Reads a config. What it makes lives on. */
cd_fault *settings_read(const cd_json *config, settings *out);
/* The stream of a layout: its name in small letters, or the one of all. */
cd_text settings_stream(const settings *all, const field *layout);

#endif
