/* Between the files of the library. Plugins need none of it. */
#ifndef CROSSDOCK_INTERNAL_H
#define CROSSDOCK_INTERNAL_H

#include "../crossdock.h"

/* Grows, or copies, what `cd_alloc` gave. */
void *cd_realloc(void *old, size_t old_size, size_t new_size);
/* The call has ended: its memory is there for the next one. */
void cd_reset(void);
/* How many bytes the arena holds, for tests. */
size_t cd_arena_size(void);
/* There is no memory left. A function of its own, so that the backtrace says so. */
_Noreturn void crossdock_out_of_memory(void);

/* A list of `width` bytes an item that grows; gives the place of a new one, zeroed. */
typedef struct cd_list {
    char *ptr;
    size_t len, room;
} cd_list;
void *cd_push(cd_list *list, size_t width);

/* Appends a Unicode character. */
void cd_put_char(cd_buffer *buffer, uint32_t character);
/* The first character of a valid text; what it is long. */
size_t cd_first_char(const char *text, size_t len, uint32_t *character);

/* A batch that is being made. */
typedef struct cd_builder {
    cd_text stream;
    cd_form form;
    cd_list index;
    cd_buffer data;
    size_t mark_words, mark_bytes;
    struct cd_builder *next;
} cd_builder;

typedef struct cd_rejection {
    uint32_t index;
    cd_fault *fault;
} cd_rejection;

typedef struct cd_tally {
    cd_text reason;
    uint32_t count;
} cd_tally;

struct cd_given {
    const cd_batch *batch; /* NULL in `finish` */
    const cd_record *record;
    bool replaces;
    cd_list kept; /* uint32_t */
    size_t mark_kept, gave;
    const char *reason;
    cd_builder *builders, *last;
    cd_list rejected; /* cd_rejection */
    cd_list reasons;  /* cd_tally */
    cd_fault *wrong;  /* what was given cannot be */
};

typedef struct cd_unread {
    cd_text data;
    cd_fault *fault;
} cd_unread;

struct cd_page {
    uint32_t records, bytes, millis;
    uint64_t until;
    uint32_t asked;
    bool ends, idles, full;
    uint32_t idle_ms;
    cd_builder *builder;
    cd_list unreadable; /* cd_unread */
    cd_fault *wrong;
};

struct cd_streams {
    cd_list list; /* cd_stream */
};

struct cd_written {
    const cd_batch *batch;
    cd_list rejected; /* cd_rejection */
    cd_builder *receipts;
    cd_fault *wrong;
};

/* The calls of the host, before they are put into the contract's types. */
cd_fault *cd_transformer_check(const cd_transformer *stage, cd_text config);
cd_fault *cd_transformer_open(const cd_transformer *stage, cd_text config, const cd_text *snapshot);
cd_fault *cd_transformer_apply(const cd_transformer *stage, const cd_batch *batch, cd_given *given);
cd_fault *cd_transformer_finish(const cd_transformer *stage, cd_given *given);
cd_fault *cd_source_check(const cd_source *stage, cd_text config);
cd_fault *cd_source_streams(const cd_source *stage, cd_text config, cd_streams *streams);
cd_fault *cd_source_open(const cd_source *stage, cd_text config, const cd_text *snapshot);
cd_fault *cd_source_read(const cd_source *stage, cd_page *page);
cd_fault *cd_sink_check(const cd_sink *stage, cd_text config);
cd_fault *cd_sink_open(const cd_sink *stage, cd_text config, const cd_text *snapshot);
cd_fault *cd_sink_write(const cd_sink *stage, const cd_batch *batch, cd_written *written);
cd_fault *cd_stage_snapshot(cd_fault *(*snapshot)(cd_text *), cd_text *out);

size_t cd_builder_records(const cd_builder *builder);
cd_batch cd_builder_batch(const cd_builder *builder);

/* What the host answers instead of a value: the contract's tag and a text. */
typedef struct cd_failure {
    bool failed;
    uint8_t tag;
    cd_text text;
} cd_failure;

/* What the host offers: the contract's imports in the sandbox, `testing.c` in tests. */
void cd_import_log(cd_level level, cd_text line);
void cd_import_count(cd_text name, uint64_t delta);
void cd_import_gauge(cd_text name, double value);
uint64_t cd_import_now_ms(void);
uint64_t cd_import_random(void);
cd_failure cd_import_send(const cd_request *request, cd_response *response);
/* One failure or response for each request. */
void cd_import_send_all(const cd_request *requests, size_t count, cd_response *responses, cd_failure *failures);

typedef struct cd_packed {
    uint32_t *ends;
    size_t count;
    char *data;
    size_t size;
} cd_packed;
cd_failure cd_import_table_get(cd_text table, const cd_packed *keys, cd_packed *values);
cd_failure cd_import_table_find(cd_text table, cd_text prefix, cd_text after, uint32_t limit, cd_packed *entries);
cd_failure cd_import_table_put(cd_text table, const cd_packed *entries);

#endif
