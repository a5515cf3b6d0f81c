/*
 * Write crossdock plugins in C, C++, and whatever can call C. The README beside this file is the guide.
 *
 * - A function that can fail gives a fault, or NULL. `CD_TRY(call)` hands a fault on.
 * - Memory: everything that the library gives, and all that `cd_alloc` and `cd_format` give, lives until the call of the host
 *   ends. What has to live longer goes into your own static variables, or is kept with `cd_keep`. Nothing has to be freed.
 * - One instance works on one stage of one run, and calls never overlap: static variables are safe.
 */
#ifndef CROSSDOCK_H
#define CROSSDOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) || defined(__clang__)
#define CD_PRINTF(at, first) __attribute__((format(printf, at, first)))
#else
#define CD_PRINTF(at, first)
#endif

/* ---- Texts and memory ---- */

/* Bytes, mostly UTF-8 text. No NUL behind it. `ptr` NULL: there is none, which is not the same as an empty one. */
typedef struct cd_text {
    const char *ptr;
    size_t len;
} cd_text;

/* A literal as a text: `CD("name")`. */
#ifdef __cplusplus
#define CD(literal) (cd_text{(literal), sizeof(literal) - 1})
#else
#define CD(literal) ((cd_text){(literal), sizeof(literal) - 1})
#endif

/* A text for `%.*s`. */
#define CD_ARG(text) (int)(text).len, (text).len ? (text).ptr : ""

/* The text of a C string; none for NULL. */
cd_text cd_text_of(const char *string);
/* A text as a C string. What follows a NUL in it is not seen. */
const char *cd_string(cd_text text);
bool cd_equal(cd_text a, cd_text b);
bool cd_is(cd_text text, const char *string);
bool cd_starts_with(cd_text text, const char *start);
/* In capital or small letters: Latin, Greek and Cyrillic ones; a `ß` becomes `SS`. */
cd_text cd_upper(cd_text text);
cd_text cd_lower(cd_text text);
/* Length of the valid UTF-8 at the start. */
size_t cd_utf8_valid(cd_text text);

/* Memory until the call ends, aligned for anything. There is no NULL: without memory the instance ends. */
void *cd_alloc(size_t bytes);
cd_text cd_copy(cd_text text);
/* Like `sprintf`, as a text with a NUL behind it. */
cd_text cd_format(const char *format, ...) CD_PRINTF(1, 2);
/* A copy that lives on: `static cd_text name; cd_keep(&name, text);`. It replaces, and frees, what was kept there. */
void cd_keep(cd_text *place, cd_text text);

/* Bytes that grow, until the call ends: start with `cd_buffer b = {0};`. */
typedef struct cd_buffer {
    char *ptr;
    size_t len, room;
} cd_buffer;
void cd_put(cd_buffer *buffer, cd_text text);
void cd_put_string(cd_buffer *buffer, const char *string);
void cd_put_byte(cd_buffer *buffer, char byte);
/* A JSON text: quoted, escaped. What is no UTF-8 becomes U+FFFD. */
void cd_put_quoted(cd_buffer *buffer, cd_text text);
void cd_put_integer(cd_buffer *buffer, int64_t number);
cd_text cd_written_text(const cd_buffer *buffer);

/* ---- Faults ---- */

typedef enum cd_kind {
    CD_TRANSIENT, /* it may work when tried again */
    CD_PERMANENT, /* it will never work: the record becomes a dead letter */
    CD_CONFIG     /* a person has to change the configuration: the run stops */
} cd_kind;

/* Why a call, or one record, failed. */
typedef struct cd_fault {
    cd_kind kind;
    cd_text message;         /* one sentence: what was expected, what was found */
    cd_text location;        /* `prices.csv:17`, a URL, a path in the record */
    cd_text field;           /* of CD_CONFIG: the field as a JSON pointer, `/files/0` */
    cd_text advice;          /* of CD_CONFIG: what to do about it */
    bool waits;              /* of CD_TRANSIENT: the other side asked to wait... */
    uint64_t retry_after_ms; /* ...this long */
} cd_fault;

cd_fault *cd_transient(const char *format, ...) CD_PRINTF(1, 2);
cd_fault *cd_permanent(const char *format, ...) CD_PRINTF(1, 2);
cd_fault *cd_config_fault(const char *format, ...) CD_PRINTF(1, 2);
/* The same without a format. */
cd_fault *cd_fault_of(cd_kind kind, cd_text message);
/* Add to a fault, and give it back. */
cd_fault *cd_at(cd_fault *fault, cd_text location);
cd_fault *cd_at_field(cd_fault *fault, const char *pointer, const char *advice);
cd_fault *cd_after(cd_fault *fault, uint64_t ms);

#define CD_TRY(call)                      \
    do {                                  \
        cd_fault *cd_failed_ = (call);    \
        if (cd_failed_) return cd_failed_; \
    } while (0)

/* ---- JSON ---- */

/* One value. Numbers keep their digits: `9.90` is given out as `9.90`. NULL stands for what is missing, everywhere. */
typedef struct cd_json cd_json;
typedef enum cd_type { CD_MISSING, CD_NULL, CD_BOOL, CD_NUMBER, CD_TEXT, CD_LIST, CD_OBJECT } cd_type;

/* Parses strictly, as RFC 8259 says. A permanent fault names the byte. */
cd_fault *cd_parse(cd_text text, cd_json **value);
cd_text cd_to_json(const cd_json *value);
void cd_put_json(cd_buffer *buffer, const cd_json *value);

cd_type cd_type_of(const cd_json *value);
/* A member of an object, or NULL. Of several with the same name, the last one. */
cd_json *cd_get(const cd_json *object, const char *name);
cd_json *cd_get_named(const cd_json *object, cd_text name);
/* Members of an object and items of a list: `for (cd_json *one = cd_first(list); one; one = cd_next(one))`. */
cd_json *cd_first(const cd_json *container);
cd_json *cd_next(const cd_json *one);
cd_text cd_name(const cd_json *member);
size_t cd_count_of(const cd_json *container);
/* What a value holds; the other one when it is missing or of another type. */
cd_text cd_as_text(const cd_json *value, cd_text otherwise);
int64_t cd_as_int(const cd_json *value, int64_t otherwise);
double cd_as_double(const cd_json *value, double otherwise);
bool cd_as_bool(const cd_json *value, bool otherwise);
/* A number as it is written; none for anything else. */
cd_text cd_as_digits(const cd_json *value);
/* The same of a member: `cd_get_text(config, "path", "/items")`. */
cd_text cd_get_text(const cd_json *object, const char *name, const char *otherwise);
int64_t cd_get_int(const cd_json *object, const char *name, int64_t otherwise);
bool cd_get_bool(const cd_json *object, const char *name, bool otherwise);

cd_json *cd_new_object(void);
cd_json *cd_new_list(void);
cd_json *cd_new_text(cd_text text);
cd_json *cd_new_int(int64_t number);
/* The shortest digits that are read as the same number; `null` for what JSON cannot say. */
cd_json *cd_new_double(double number);
cd_json *cd_new_bool(bool value);
cd_json *cd_new_null(void);
/* Puts a member, in the place of one of that name. A value can be in one place only. */
void cd_set(cd_json *object, const char *name, cd_json *value);
void cd_set_named(cd_json *object, cd_text name, cd_json *value);
void cd_remove(cd_json *object, const char *name);
void cd_append(cd_json *list, cd_json *value);

/* ---- Records ---- */

typedef enum cd_form { CD_JSON, CD_BYTES } cd_form;
typedef enum cd_op { CD_SAME, CD_UPSERT, CD_DELETE } cd_op;

/* One record of a batch. */
typedef struct cd_record {
    cd_text stream, key;
    cd_text headers; /* a JSON object of texts, or empty */
    cd_text payload;
    cd_form form;
    cd_op op;
    uint32_t index; /* its position in the batch */
} cd_record;

/* Records of one stream. */
typedef struct cd_batch {
    cd_text stream;
    cd_form form;
    const uint32_t *index;
    size_t words; /* four a record */
    const char *data;
    size_t size;
} cd_batch;

size_t cd_records(const cd_batch *batch);
cd_record cd_record_at(const cd_batch *batch, size_t index);
/* The payload, parsed. It may be changed and given out. */
cd_fault *cd_value(const cd_record *record, cd_json **value);
cd_text cd_header(const cd_record *record, const char *name);

/* A record that is given out: one of `value`, `json` and `bytes`. What is not said is as in the record that it comes from. */
typedef struct cd_output {
    cd_json *value;
    cd_text json;  /* JSON that is written already */
    cd_text bytes; /* anything else */
    cd_text stream, key;
    cd_json *headers;
    cd_op op;
} cd_output;

/* ---- Transformers ---- */

/* What goes on of a batch. */
typedef struct cd_given cd_given;

/* The record goes on as it is. Costs nothing when nothing else is given. */
void cd_pass(cd_given *given);
/* This goes on instead, or as well. */
void cd_give(cd_given *given, cd_output output);
/* The record goes nowhere. The summary of the run counts the reasons. */
void cd_filter(cd_given *given, const char *reason);
/* Calls `map` for each record of the batch: what `apply` does when there is none. */
cd_fault *cd_each(cd_given *given, cd_fault *(*map)(const cd_record *record, cd_given *given));

/* Define it in your code, and what is missing does nothing: `const cd_transformer crossdock_transformer = { .map = map };` */
typedef struct cd_transformer {
    /* Batches come in order to one instance, and `snapshot` holds what it knows. */
    bool stateful;
    /* Is the config usable? Without it: can it be opened? */
    cd_fault *(*check)(const cd_json *config);
    /* `snapshot`: what `snapshot` gave in an earlier life, or NULL. */
    cd_fault *(*open)(const cd_json *config, const cd_text *snapshot);
    /* What becomes of a record: `cd_pass`, `cd_give`, `cd_filter`, several of them, or nothing. A fault rejects this record
     * only, and takes back what was given for it; a CD_CONFIG one stops the run. */
    cd_fault *(*map)(const cd_record *record, cd_given *given);
    /* Works on a batch: look things up for all of it, then call `cd_each`. */
    cd_fault *(*apply)(const cd_batch *batch, cd_given *given);
    /* The input has ended: give what was held back, each with its `stream`. */
    cd_fault *(*finish)(cd_given *given);
    cd_fault *(*snapshot)(cd_text *snapshot);
    void (*close)(void);
} cd_transformer;

/* ---- Sources ---- */

/* What a source can read. */
typedef struct cd_stream {
    cd_text name;
    cd_text schema; /* JSON Schema of the payload, or none */
    const cd_text *key; /* fields that identify a record */
    size_t keys;
    bool incremental; /* whether a later run reads only what has changed since */
} cd_stream;

typedef struct cd_streams cd_streams;
void cd_add_stream(cd_streams *streams, cd_stream stream);

/* What one `read` gives. */
typedef struct cd_page cd_page;

/* Whether there is room and time for more. */
bool cd_wants(cd_page *page);
/* Adds a record, which names its `stream`. false: it belongs into the next page, so give it then. */
bool cd_add(cd_page *page, cd_output output);
/* Input that is no record: it counts as read and becomes a dead letter. false: as above. */
bool cd_add_unreadable(cd_page *page, cd_text data, cd_fault *fault);
/* Nothing now: ask again after so many milliseconds. */
void cd_idle(cd_page *page, uint32_t ms);
/* There will be no more. */
void cd_end(cd_page *page);

typedef struct cd_source {
    cd_fault *(*check)(const cd_json *config);
    cd_fault *(*streams)(const cd_json *config, cd_streams *streams);
    cd_fault *(*open)(const cd_json *config, const cd_text *snapshot);
    /* While `cd_wants(page)`: `cd_add`, and only when that is true, go on behind the record. A fault after records comes with
     * the next call, so none is lost. */
    cd_fault *(*read)(cd_page *page);
    /* The position behind the last record that was added. */
    cd_fault *(*snapshot)(cd_text *snapshot);
    cd_fault *(*committed)(cd_text snapshot);
    void (*close)(void);
} cd_source;

/* ---- Sinks ---- */

/* What becomes of a batch. */
typedef struct cd_written cd_written;
void cd_reject(cd_written *written, uint32_t index, cd_fault *fault);
/* What the target answered to this record, for later stages and tables: records of one stream. */
void cd_receipt(cd_written *written, const cd_record *record, cd_output output);

typedef struct cd_sink {
    cd_fault *(*check)(const cd_json *config);
    cd_fault *(*open)(const cd_json *config, const cd_text *snapshot);
    /* Writes one record. A fault rejects it. */
    cd_fault *(*write_record)(const cd_record *record, cd_written *written);
    /* Writes a batch; all that `cd_reject` does not name counts as written. */
    cd_fault *(*write)(const cd_batch *batch, cd_written *written);
    cd_fault *(*finish)(void);
    /* Makes everything so far durable, and says how far that is. */
    cd_fault *(*snapshot)(cd_text *snapshot);
    /* Makes it visible. May come twice. */
    cd_fault *(*commit)(cd_text snapshot);
    void (*close)(void);
} cd_sink;

/* Which of them a plugin has is said in plugin.json. */
extern const cd_source crossdock_source;
extern const cd_transformer crossdock_transformer;
extern const cd_sink crossdock_sink;

/* ---- The host ---- */

typedef enum cd_level { CD_LOG_TRACE, CD_LOG_DEBUG, CD_LOG_INFO, CD_LOG_WARN, CD_LOG_ERROR } cd_level;
/* One line for the operator. The host adds flow, stage and plugin. */
void cd_log(cd_level level, const char *format, ...) CD_PRINTF(2, 3);
void cd_log_text(cd_level level, cd_text line);

/* Numbers for dashboards. Names are [a-z0-9_]. */
void cd_count(const char *name, uint64_t delta);
void cd_gauge(const char *name, double value);

/* Milliseconds since 1970. */
uint64_t cd_now_ms(void);
uint64_t cd_random(void);

typedef struct cd_pair {
    cd_text name, value;
} cd_pair;

/* One request. */
typedef struct cd_request {
    cd_text connection; /* of the flow's grants */
    cd_text method;     /* none: GET */
    cd_text url;
    const cd_pair *headers;
    size_t header_count;
    cd_text body;
    uint32_t timeout_ms; /* 0: the connection's default */
} cd_request;

/* An answer of another system. A status like 404 or 503 is one. */
typedef struct cd_response {
    int status;
    const cd_pair *headers; /* names in small letters */
    size_t header_count;
    cd_text body, url;
} cd_response;

/* What came of one of many requests: a fault when there was no response. */
typedef struct cd_answer {
    cd_response response;
    cd_fault *fault;
} cd_answer;

/* HTTP through the host, which adds the authentication of the connection and keeps its limits. */
cd_fault *cd_send(cd_request request, cd_response *response);
/* As many at a time as the connection allows. `answers` has room for `count`. */
void cd_send_all(const cd_request *requests, size_t count, cd_answer *answers);
/* `GET` through a connection. */
cd_fault *cd_http_get(cd_text connection, cd_text url, cd_response *response);
/* A request with a JSON body, and the header that says so. */
cd_request cd_json_request(cd_text method, cd_text connection, cd_text url, const cd_json *body);
/* NULL, or the fault that its status stands for. */
cd_fault *cd_error_for_status(const cd_response *response);
cd_fault *cd_response_json(const cd_response *response, cd_json **value);
cd_text cd_response_header(const cd_response *response, const char *name);
/* A text as one part of a URL. */
cd_text cd_url_encode(cd_text text);

/* Keyed maps that flows share. Values are JSON. Ask for many keys at once: a call is what costs. */
/* `values` has room for `count`; none (`ptr` NULL) where there is no entry. */
cd_fault *cd_table_get(cd_text table, const cd_text *keys, size_t count, cd_text *values);
/* Up to `limit` entries whose key starts with `prefix` and is greater than `after`, in their order. */
cd_fault *cd_table_find(cd_text table, cd_text prefix, cd_text after, uint32_t limit, cd_pair **entries, size_t *count);
/* Stores entries. One with an empty value is removed. */
cd_fault *cd_table_put(cd_text table, const cd_pair *entries, size_t count);

#ifdef __cplusplus
}
#endif
#endif
