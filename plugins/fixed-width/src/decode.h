/* Records into JSON. */
#ifndef DECODE_H
#define DECODE_H

#include "charset.h"
#include "copybook.h"

typedef enum blanks { BLANK_NULL, BLANK_ZERO, BLANK_REJECT } blanks;

/* How records are read, and the one that is. */
typedef struct decoder {
    charset set;
    bool trim_left, trim_right;
    blanks blanks;
    bool counted_tables; /* a table has as many items as its counter says; otherwise always the most */
    bool little_endian;  /* of COMP-5 */
    bool ieee;           /* COMP-1 and COMP-2 */
    bool may_be_short;   /* what lies behind the end is left out */

    const unsigned char *bytes;
    size_t len;
    uint64_t number; /* of the record, never the same twice */
    cd_buffer *out;
    cd_buffer scratch;
} decoder;

/* Appends a record as a JSON object to `in->out`. The fault names field and offset. */
cd_fault *decode_record(decoder *in, field *record);
/* What a decision takes for this record. */
cd_fault *decode_decision(decoder *in, const decision *made, const char *what, field **taken);
/* The value of a watched field of the record that was read, as a text. */
cd_fault *decode_text(decoder *in, field *one, cd_text *text);

#endif
