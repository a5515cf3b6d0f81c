/* Numbers as COBOL keeps them, digit by digit: none is rounded. */
#ifndef NUMBER_H
#define NUMBER_H

#include "crossdock.h"

typedef struct number {
    bool negative;
    unsigned count;
    char digits[48];
} number;

/* NULL, or what was expected. */
const char *number_zoned(number *out, const unsigned char *bytes, unsigned digits, bool is_signed, bool leading, bool separate,
                         bool ebcdic);
const char *number_packed(number *out, const unsigned char *bytes, size_t len);
void number_binary(number *out, const unsigned char *bytes, size_t len, bool is_signed, bool little_endian);
/* COMP-1 and COMP-2: of a mainframe, or as everywhere else; the highest byte first. */
double number_float(const unsigned char *bytes, size_t len, bool ieee);
/* Appends it as JSON, with `scale` digits behind the point. */
void number_put(cd_buffer *out, const number *value, int scale);

#endif
