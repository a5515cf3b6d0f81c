/* Character sets of one byte a character. */
#ifndef CHARSET_H
#define CHARSET_H

#include "crossdock.h"

typedef struct charset {
    const char *name;
    bool ebcdic;
    /* What ends a line. */
    unsigned char line_end;
    uint16_t characters[256];
} charset;

/* Fills in the table of a name: `cp037`, `cp273`, `cp500`, `cp1140`, `cp1141`, `ascii`, `iso-8859-1`, `windows-1252`. */
bool charset_find(cd_text name, charset *out);
/* Appends bytes as UTF-8. Gives the position of a byte that stands for no character, or `len`. */
size_t charset_put(const charset *set, cd_buffer *out, const unsigned char *bytes, size_t len);

#endif
