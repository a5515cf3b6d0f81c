/*
 * What the component exports: the contract's functions as the canonical ABI has them. `crossdock plugin build` defines
 * CROSSDOCK_SOURCE, CROSSDOCK_TRANSFORMER and CROSSDOCK_SINK as plugin.json says.
 */
#include "internal.h"

#ifdef __wasm__

#include <stdlib.h>
#include <string.h>

/* A plugin of one kind does not use what the others need. */
#define SHARED __attribute__((unused)) static
#define EXPORT(kind, name) __attribute__((export_name("crossdock:plugin/" kind "@0.1.0#" name)))
/* What a call has given is copied by the host before this is called. */
#define RETURNS(kind, name, function) \
    __attribute__((export_name("cabi_post_crossdock:plugin/" kind "@0.1.0#" name))) void function(void *result) { \
        (void)result; \
        cd_reset(); \
    }

/* What the host hands in lives as long as the call. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t new_size) {
    if (!new_size) return (void *)align;
    return cd_realloc(old_size ? old : NULL, old_size, new_size);
}

/* What WASI's adapter needs for itself lives as long as the instance. */
__attribute__((export_name("cabi_realloc_adapter"))) void *cabi_realloc_adapter(void *old, size_t old_size, size_t align,
                                                                               size_t new_size) {
    if (!new_size) return (void *)align;
    void *place = aligned_alloc(align, (new_size + align - 1) / align * align);
    if (!place) crossdock_out_of_memory();
    if (old_size) memcpy(place, old, old_size < new_size ? old_size : new_size);
    return place;
}

/* ---- The contract's types, as they lie in memory ---- */

typedef struct wire_list {
    const void *ptr;
    size_t len;
} wire_list;

typedef struct wire_fault {
    uint8_t tag;
    union {
        struct {
            cd_text message, location;
            uint8_t waits;
            uint64_t retry_after_ms;
        } detail;
        struct {
            cd_text message, field, advice;
        } config;
    };
} wire_fault;
_Static_assert(sizeof(wire_fault) == 40 && offsetof(wire_fault, detail.retry_after_ms) == 32, "fault");

typedef struct wire_batch {
    cd_text stream;
    uint8_t form;
    wire_list index, data;
} wire_batch;
_Static_assert(sizeof(wire_batch) == 28, "batch");

typedef struct wire_rejection {
    uint32_t index;
    wire_fault fault;
} wire_rejection;
_Static_assert(sizeof(wire_rejection) == 48, "rejection");

typedef struct wire_unreadable {
    cd_text data;
    wire_fault fault;
} wire_unreadable;
_Static_assert(sizeof(wire_unreadable) == 48, "unreadable");

typedef struct wire_stream {
    cd_text name, schema;
    wire_list key;
    uint8_t incremental;
} wire_stream;
_Static_assert(sizeof(wire_stream) == 28, "stream-info");

enum { OUTPUT_PASS, OUTPUT_SELECT, OUTPUT_REPLACE };
typedef struct wire_applied {
    uint8_t output;
    wire_list items;
    wire_list rejected, filtered;
} wire_applied;
_Static_assert(sizeof(wire_applied) == 28 && sizeof(cd_tally) == 12, "applied");

enum { OUTCOME_PAGE, OUTCOME_IDLE, OUTCOME_END };
typedef struct wire_outcome {
    uint8_t tag;
    union {
        struct {
            wire_batch records;
            wire_list unreadable;
        } page;
        uint32_t idle_ms;
    };
} wire_outcome;
_Static_assert(sizeof(wire_outcome) == 40, "read-outcome");

typedef struct wire_written {
    wire_list rejected;
    uint8_t answers;
    wire_batch receipts;
} wire_written;
_Static_assert(sizeof(wire_written) == 40, "written");

/* `result<T, fault>` for every T. */
static struct {
    uint8_t failed;
    _Alignas(8) union {
        wire_fault fault;
        wire_list list;
        wire_applied applied;
        wire_outcome outcome;
        wire_written written;
        uint8_t mode;
    };
} result;
_Static_assert(sizeof result == 48, "result");

SHARED void put_fault(wire_fault *out, const cd_fault *fault) {
    memset(out, 0, sizeof *out);
    out->tag = (uint8_t)fault->kind;
    if (fault->kind == CD_CONFIG) {
        out->config.message = fault->message;
        out->config.field = fault->field;
        out->config.advice = fault->advice;
    } else {
        out->detail.message = fault->message;
        out->detail.location = fault->location;
        out->detail.waits = fault->waits;
        out->detail.retry_after_ms = fault->retry_after_ms;
    }
}

/* The result of a call: 0 and what `result` has already, or the fault. */
static void *ended(const cd_fault *fault) {
    result.failed = fault != NULL;
    if (fault) put_fault(&result.fault, fault);
    return &result;
}

SHARED wire_batch put_batch(const cd_builder *builder) {
    cd_batch batch = cd_builder_batch(builder);
    return (wire_batch){batch.stream, (uint8_t)batch.form, {batch.index, batch.words}, {batch.data, batch.size}};
}

SHARED wire_list put_batches(const cd_builder *builders, size_t *count) {
    cd_list list = {0};
    for (const cd_builder *one = builders; one; one = one->next)
        if (cd_builder_records(one)) *(wire_batch *)cd_push(&list, sizeof(wire_batch)) = put_batch(one);
    *count = list.len / sizeof(wire_batch);
    return (wire_list){list.ptr, *count};
}

SHARED wire_list put_rejected(const cd_list *rejected) {
    const cd_rejection *all = (const cd_rejection *)(const void *)rejected->ptr;
    size_t count = rejected->len / sizeof *all;
    wire_rejection *out = count ? cd_alloc(count * sizeof *out) : NULL;
    for (size_t i = 0; i < count; i++) {
        out[i].index = all[i].index;
        put_fault(&out[i].fault, all[i].fault);
    }
    return (wire_list){out, count};
}

static void *snapshot_of(cd_fault *(*snapshot)(cd_text *)) {
    cd_text text;
    cd_fault *fault = cd_stage_snapshot(snapshot, &text);
    if (!fault) result.list = (wire_list){text.ptr, text.len};
    return ended(fault);
}

SHARED const cd_text *given_snapshot(uint32_t is_there, cd_text *text) {
    return is_there ? text : NULL;
}

static void closed(void (*close)(void)) {
    if (close) close();
    cd_reset();
}

SHARED cd_batch taken(cd_text stream, uint32_t form, const uint32_t *index, size_t words, const char *data, size_t size) {
    return (cd_batch){stream, (cd_form)form, index, words, data, size};
}

#ifdef CROSSDOCK_TRANSFORMER
#define STAGE (&crossdock_transformer)

EXPORT("transformer", "check") void *transformer_check(const char *config, size_t len) {
    return ended(cd_transformer_check(STAGE, (cd_text){config, len}));
}
RETURNS("transformer", "check", transformer_check_post)

EXPORT("transformer", "open")
void *transformer_open(const char *config, size_t len, uint32_t is_there, const char *known, size_t size) {
    cd_text snapshot = {known, size};
    cd_fault *fault = cd_transformer_open(STAGE, (cd_text){config, len}, given_snapshot(is_there, &snapshot));
    result.mode = STAGE->stateful;
    return ended(fault);
}
RETURNS("transformer", "open", transformer_open_post)

EXPORT("transformer", "apply")
void *transformer_apply(const char *stream, size_t len, uint32_t form, const uint32_t *index, size_t words, const char *data,
                        size_t size) {
    cd_batch batch = taken((cd_text){stream, len}, form, index, words, data, size);
    cd_given given;
    cd_fault *fault = cd_transformer_apply(STAGE, &batch, &given);
    if (fault) return ended(fault);
    size_t kept = given.kept.len / 4, count;
    wire_applied applied = {OUTPUT_PASS, {NULL, 0}, put_rejected(&given.rejected), {NULL, 0}};
    applied.filtered = (wire_list){given.reasons.ptr, given.reasons.len / sizeof(cd_tally)};
    if (given.replaces) {
        applied.output = OUTPUT_REPLACE;
        applied.items = put_batches(given.builders, &count);
    } else if (kept != cd_records(&batch)) {
        applied.output = OUTPUT_SELECT;
        applied.items = (wire_list){given.kept.ptr, kept};
    }
    result.applied = applied;
    return ended(NULL);
}
RETURNS("transformer", "apply", transformer_apply_post)

EXPORT("transformer", "finish") void *transformer_finish(void) {
    cd_given given;
    size_t count;
    cd_fault *fault = cd_transformer_finish(STAGE, &given);
    if (!fault) result.list = put_batches(given.builders, &count);
    return ended(fault);
}
RETURNS("transformer", "finish", transformer_finish_post)

EXPORT("transformer", "snapshot") void *transformer_snapshot(void) {
    return snapshot_of(STAGE->snapshot);
}
RETURNS("transformer", "snapshot", transformer_snapshot_post)

EXPORT("transformer", "close") void transformer_close(void) {
    closed(STAGE->close);
}
#undef STAGE
#endif

#ifdef CROSSDOCK_SOURCE
#define STAGE (&crossdock_source)

EXPORT("source", "check") void *source_check(const char *config, size_t len) {
    return ended(cd_source_check(STAGE, (cd_text){config, len}));
}
RETURNS("source", "check", source_check_post)

EXPORT("source", "streams") void *source_streams(const char *config, size_t len) {
    cd_streams streams;
    cd_fault *fault = cd_source_streams(STAGE, (cd_text){config, len}, &streams);
    if (fault) return ended(fault);
    const cd_stream *all = (const cd_stream *)(const void *)streams.list.ptr;
    size_t count = streams.list.len / sizeof *all;
    wire_stream *out = count ? cd_alloc(count * sizeof *out) : NULL;
    for (size_t i = 0; i < count; i++)
        out[i] = (wire_stream){all[i].name, all[i].schema, {all[i].key, all[i].keys}, all[i].incremental};
    result.list = (wire_list){out, count};
    return ended(NULL);
}
RETURNS("source", "streams", source_streams_post)

EXPORT("source", "open")
void *source_open(const char *config, size_t len, uint32_t is_there, const char *known, size_t size) {
    cd_text snapshot = {known, size};
    return ended(cd_source_open(STAGE, (cd_text){config, len}, given_snapshot(is_there, &snapshot)));
}
RETURNS("source", "open", source_open_post)

EXPORT("source", "read") void *source_read(uint32_t records, uint32_t bytes, uint32_t millis) {
    cd_page page = {.records = records, .bytes = bytes, .millis = millis};
    cd_fault *fault = cd_source_read(STAGE, &page);
    if (fault) return ended(fault);
    wire_outcome *out = &result.outcome;
    memset(out, 0, sizeof *out);
    const cd_unread *all = (const cd_unread *)(const void *)page.unreadable.ptr;
    size_t count = page.unreadable.len / sizeof *all;
    if (!page.builder && !count) {
        out->tag = page.ends ? OUTCOME_END : OUTCOME_IDLE;
        if (!page.ends) out->idle_ms = page.idle_ms;
        return ended(NULL);
    }
    wire_unreadable *unreadable = count ? cd_alloc(count * sizeof *unreadable) : NULL;
    for (size_t i = 0; i < count; i++) {
        unreadable[i].data = all[i].data;
        put_fault(&unreadable[i].fault, all[i].fault);
    }
    out->tag = OUTCOME_PAGE;
    out->page.records = page.builder ? put_batch(page.builder) : (wire_batch){.stream = CD("records")};
    out->page.unreadable = (wire_list){unreadable, count};
    return ended(NULL);
}
RETURNS("source", "read", source_read_post)

EXPORT("source", "snapshot") void *source_snapshot(void) {
    return snapshot_of(STAGE->snapshot);
}
RETURNS("source", "snapshot", source_snapshot_post)

EXPORT("source", "committed") void *source_committed(const char *known, size_t size) {
    return ended(STAGE->committed ? STAGE->committed((cd_text){known, size}) : NULL);
}
RETURNS("source", "committed", source_committed_post)

EXPORT("source", "close") void source_close(void) {
    closed(STAGE->close);
}
#undef STAGE
#endif

#ifdef CROSSDOCK_SINK
#define STAGE (&crossdock_sink)

EXPORT("sink", "check") void *sink_check(const char *config, size_t len) {
    return ended(cd_sink_check(STAGE, (cd_text){config, len}));
}
RETURNS("sink", "check", sink_check_post)

EXPORT("sink", "open") void *sink_open(const char *config, size_t len, uint32_t is_there, const char *known, size_t size) {
    cd_text snapshot = {known, size};
    return ended(cd_sink_open(STAGE, (cd_text){config, len}, given_snapshot(is_there, &snapshot)));
}
RETURNS("sink", "open", sink_open_post)

EXPORT("sink", "write")
void *sink_write(const char *stream, size_t len, uint32_t form, const uint32_t *index, size_t words, const char *data,
                 size_t size) {
    cd_batch batch = taken((cd_text){stream, len}, form, index, words, data, size);
    cd_written written;
    cd_fault *fault = cd_sink_write(STAGE, &batch, &written);
    if (fault) return ended(fault);
    wire_written out = {.rejected = put_rejected(&written.rejected), .answers = written.receipts != NULL};
    if (written.receipts) out.receipts = put_batch(written.receipts);
    result.written = out;
    return ended(NULL);
}
RETURNS("sink", "write", sink_write_post)

EXPORT("sink", "finish") void *sink_finish(void) {
    return ended(STAGE->finish ? STAGE->finish() : NULL);
}
RETURNS("sink", "finish", sink_finish_post)

EXPORT("sink", "snapshot") void *sink_snapshot(void) {
    return snapshot_of(STAGE->snapshot);
}
RETURNS("sink", "snapshot", sink_snapshot_post)

EXPORT("sink", "commit") void *sink_commit(const char *known, size_t size) {
    return ended(STAGE->commit ? STAGE->commit((cd_text){known, size}) : NULL);
}
RETURNS("sink", "commit", sink_commit_post)

EXPORT("sink", "close") void sink_close(void) {
    closed(STAGE->close);
}
#undef STAGE
#endif

#endif
