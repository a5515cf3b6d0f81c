/* What a copybook says: fields of a record, where they are, and what is in them. */
#ifndef COPYBOOK_H
#define COPYBOOK_H

#include "crossdock.h"

typedef enum usage { DISPLAY, BINARY, NATIVE, PACKED, FLOAT, DOUBLE } usage;

typedef struct field field;
struct field {
    int level, line;
    const char *name; /* as written, in capitals; `FILLER` */
    cd_text shown;    /* as it is given out: `"NAME":` */
    bool filler;

    /* Of a group. */
    field *first, *last;
    field *next, *parent;

    /* Of an elementary field. */
    bool numeric, is_signed, leading, separate;
    usage usage;
    unsigned digits;
    int scale; /* digits behind the point; less than 0: zeros before it */
    uint32_t bytes;

    bool table;
    uint32_t least, most; /* how often it is there */
    const char *depending;
    field *counter;

    bool watched;     /* its value is needed elsewhere: */
    uint64_t seen_in; /* in which record it was seen last, */
    size_t seen_at;   /* and where in it */
    uint32_t item;    /* of a table: which one is read, from 1 */

    const char *redefines;
    field *original; /* the field that it is another view of */
    field *views;    /* the views of this field, in their order */
    field *next_view;

    /* Of a field with views: what is chosen. */
    field *chosen;
    bool all;
    struct decision *decision;

    uint32_t offset, size; /* with every table at its longest; the size of all of its items */
    uint32_t size_of_one;
};

/* What is taken when a field has a value: a view of a field, or the layout of a record. */
typedef struct choice {
    const char *value;
    field *taken;
    struct choice *next;
} choice;

typedef struct decision {
    field *by;
    choice *choices;
    field *otherwise; /* NULL: another value is wrong */
} decision;

typedef struct copybook {
    field *first; /* the records, at level 01 */
    size_t fields;
} copybook;

/* How names are given out. */
typedef enum naming { AS_WRITTEN, SNAKE, CAMEL } naming;

/* Reads a copybook. What it makes lives on. A fault names the line. */
cd_fault *copybook_parse(cd_text text, const char *file, naming naming, copybook *out);
/* The field of this name in a record, or of a path like `COMPANY.ID`; NULL: there is none. */
field *copybook_find(field *record, const char *name);
/* Whether a field is in a table, so that there are several of it. */
bool is_in_table(const field *one);

#endif
