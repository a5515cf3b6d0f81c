/* The files that patterns name, and one of them as it is read. */
#ifndef FILES_H
#define FILES_H

#include "config.h"

/* The files, in the order of the patterns, those of one pattern by name. They live on. */
cd_fault *files_find(const settings *all, const char ***names, size_t *count);

/* One file, from some place on. */
typedef struct input {
    int file; /* -1: none */
    const char *name;
    uint64_t offset; /* of `start` in the file */
    unsigned char *bytes;
    size_t start, end, room;
    bool at_end;
} input;

cd_fault *input_open(input *in, const char *name, uint64_t offset);
void input_close(input *in);
/* Tries to have so many bytes behind `start`. Gives how many there are. */
cd_fault *input_fill(input *in, size_t wanted, size_t *there);
/* These bytes are done. */
void input_skip(input *in, size_t bytes);
/* What tells whether a file is the one that was read up to here: a number of the bytes before. */
cd_fault *input_mark(const char *name, uint64_t offset, cd_text *mark);

/* What is next in a file. */
typedef struct found {
    bool end;
    const unsigned char *bytes; /* the record, valid until the input is touched */
    size_t len;
    uint64_t whole;   /* how long it is in the file */
    cd_fault *broken; /* it is none, and why */
} found;

cd_fault *input_next(input *in, const settings *all, found *out);

#endif
