/* Write crossdock plugins in C, C++ or Zig.
 *
 * A plugin defines the functions of its kind (`cd_source_...`, `cd_transformer_...` or `cd_sink_...`, below); those marked
 * "may be left out" have a default. The host calls them one at a time, so plain global variables are safe. What each of
 * them promises is said in `wit/v0.1`.
 *
 * Memory. Everything that these functions hand out or allocate lives until the call that the host makes now has ended:
 * nothing has to be freed, and nothing may be kept. What must live longer is the plugin's own: `malloc` and `free`.
 *
 * Texts are a pointer and a length, UTF-8, not ended by a zero.
 */
#ifndef CROSSDOCK_H
#define CROSSDOCK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define CD_NOTHING nullptr
#else
#define CD_NOTHING NULL
#endif

/* ---- Texts and bytes ------------------------------------------------------------------------------------------------ */

/* A text, or bytes. */
typedef struct {
    const char *ptr;
    size_t len;
} cd_text;

/* A text of a string constant: cd_lit("items"). */
#ifdef __cplusplus
#define cd_lit(constant) (cd_text{(constant), sizeof(constant) - 1})
#else
#define cd_lit(constant) ((cd_text){(constant), sizeof(constant) - 1})
#endif
/* For "%.*s" in the format of any function here: cd_permanent("no `%.*s`", CD_ARG(name)). */
#define CD_ARG(text) (int)(text).len, (text).ptr
#if defined(__GNUC__)
#define CD_FORMAT(format, first) __attribute__((format(printf, format, first)))
#else
#define CD_FORMAT(format, first)
#endif

/* A text of a string that ends in a zero. */
cd_text cd_str(const char *zero_ended);
bool cd_equal(cd_text a, cd_text b);
bool cd_starts_with(cd_text text, cd_text start);
/* As printf, in memory of this call. */
cd_text cd_format(const char *format, ...) CD_FORMAT(1, 2);
/* Memory of this call, filled with zeros. Never NULL: without memory the instance traps, which the host contains. */
void *cd_alloc(size_t size);

/* Bytes that grow. Start with {0}. Lives until the end of this call. */
typedef struct {
    char *ptr;
    size_t len, room;
} cd_buffer;
void cd_append(cd_buffer *buffer, cd_text text);
void cd_append_char(cd_buffer *buffer, char c);
cd_text cd_taken(const cd_buffer *buffer);
/* For paths and queries of URLs: everything but letters, digits and -._~ as %XX. */
cd_text cd_url_encode(cd_text text);

/* ---- Faults --------------------------------------------------------------------------------------------------------- */

/* What went wrong, made by one of the functions below; CD_OK when nothing did. */
typedef const struct cd_fault *cd_result;
#define CD_OK CD_NOTHING

/* It may work when tried again: the host retries. */
cd_result cd_transient(const char *format, ...) CD_FORMAT(1, 2);
/* It will never work: the record becomes a dead letter. */
cd_result cd_permanent(const char *format, ...) CD_FORMAT(1, 2);
/* A person has to change the config; `field` is a JSON pointer ("/files/0") or "". The run stops. */
cd_result cd_config(const char *field, const char *format, ...) CD_FORMAT(2, 3);
/* The same fault with where it happened ("prices.csv:17"). */
cd_result cd_at(cd_result fault, const char *format, ...) CD_FORMAT(2, 3);
/* The same transient fault with the time that the other side asked to wait. */
cd_result cd_retry_after(cd_result fault, uint64_t millis);
/* The same config fault with what to do about it. */
cd_result cd_advice(cd_result fault, const char *format, ...) CD_FORMAT(2, 3);
bool cd_is_config(cd_result fault);
bool cd_is_transient(cd_result fault);
cd_text cd_message(cd_result fault);

/* ---- Records -------------------------------------------------------------------------------------------------------- */

typedef enum { CD_JSON = 0, CD_BYTES = 1 } cd_form;
typedef enum { CD_UPSERT = 0, CD_DELETE = 1 } cd_op;

typedef struct {
    cd_text key, headers, payload;
    cd_op op;
    /* Its position in the batch. */
    uint32_t index;
} cd_record;

/* Records of one stream, as the host gave them. */
typedef struct {
    cd_text stream;
    cd_form form;
    const uint32_t *words;
    uint32_t len;
    const char *data;
} cd_batch;

/* Record `index`; there are `batch->len`. */
cd_record cd_get(const cd_batch *batch, uint32_t index);

/* A batch in the making. */
typedef struct cd_builder cd_builder;
/* From no record of the input. */
#define CD_NO_ORIGIN 0xFFFFFFu
/* Adds a record: key and payload, empty headers. */
void cd_push(cd_builder *batch, cd_text key, cd_text payload);
/* The same with all there is. */
void cd_push_all(cd_builder *batch, const cd_record *record, uint32_t origin);
uint32_t cd_pushed(const cd_builder *batch);
size_t cd_pushed_bytes(const cd_builder *batch);

/* ---- A source ------------------------------------------------------------------------------------------------------- */

/* How much one read may give. */
typedef struct {
    uint32_t records, bytes, millis;
} cd_budget;
/* Whether a batch has reached it. */
bool cd_is_full(cd_budget budget, const cd_builder *batch);

typedef struct cd_streams cd_streams;
/* Adds a stream. `schema` is a JSON Schema or empty; `key` are names of fields separated by spaces, or empty. */
void cd_stream(cd_streams *streams, cd_text name, cd_text schema, cd_text key, bool incremental);

typedef struct cd_page cd_page;
/* The records of this page, all of one stream; asked again, the same batch. */
cd_builder *cd_records(cd_page *page, cd_text stream, cd_form form);
/* Input that is no record: a dead letter. */
void cd_unreadable(cd_page *page, cd_text input, cd_result fault);
/* Nothing now: ask again after so long. A page without anything and without this is the end. */
void cd_idle(cd_page *page, uint32_t millis);

cd_result cd_source_open(cd_text config, const cd_text *snapshot);
cd_result cd_source_read(cd_budget budget, cd_page *page);
cd_result cd_source_snapshot(cd_buffer *snapshot);
cd_result cd_source_streams(cd_text config, cd_streams *streams);
/* These may be left out. Without a check the config is only opened. */
cd_result cd_source_check(cd_text config);
cd_result cd_source_committed(cd_text snapshot);
void cd_source_close(void);

/* ---- A transformer -------------------------------------------------------------------------------------------------- */

typedef struct cd_output cd_output;
/* What becomes of a batch: nothing said, all of it goes on; or records are chosen; or others go on instead. A record that
 * is neither chosen nor emitted nor rejected is filtered. */
void cd_pass(cd_output *output);
void cd_select(cd_output *output, uint32_t index);
/* A record in place of `of`, in a stream; its key and headers stay. */
void cd_emit(cd_output *output, cd_text stream, const cd_record *of, cd_text payload);
/* The batch that goes on in a stream, to push to with origins of your own. */
cd_builder *cd_replace(cd_output *output, cd_text stream, cd_form form);
/* This record failed; its neighbours go on. */
void cd_reject(cd_output *output, uint32_t index, cd_result fault);
/* One more record was filtered for this reason, which the summary of the run shows. */
void cd_filtered(cd_output *output, cd_text reason);

cd_result cd_transformer_open(cd_text config, const cd_text *snapshot, bool *stateful);
cd_result cd_transformer_apply(const cd_batch *batch, cd_output *output);
/* These may be left out. */
cd_result cd_transformer_check(cd_text config);
cd_result cd_transformer_finish(cd_output *output);
cd_result cd_transformer_snapshot(cd_buffer *snapshot);
void cd_transformer_close(void);

/* ---- A sink --------------------------------------------------------------------------------------------------------- */

typedef struct cd_written cd_written;
/* This record was refused. All others count as written. */
void cd_refuse(cd_written *written, uint32_t index, cd_result fault);
/* What the target answered, for later stages and tables; push with origins. */
cd_builder *cd_receipts(cd_written *written, cd_text stream);

cd_result cd_sink_open(cd_text config, const cd_text *snapshot);
cd_result cd_sink_write(const cd_batch *batch, cd_written *written);
/* These may be left out. */
cd_result cd_sink_check(cd_text config);
cd_result cd_sink_finish(void);
cd_result cd_sink_snapshot(cd_buffer *snapshot);
cd_result cd_sink_commit(cd_text snapshot);
void cd_sink_close(void);

/* ---- What the host offers ------------------------------------------------------------------------------------------- */

typedef enum { CD_TRACE, CD_DEBUG, CD_INFO, CD_WARN, CD_ERROR } cd_level;
void cd_log(cd_level level, const char *format, ...) CD_FORMAT(2, 3);
void cd_count(cd_text metric, uint64_t delta);
void cd_gauge(cd_text metric, double value);
uint64_t cd_now_ms(void);
uint64_t cd_random(void);

typedef struct {
    cd_text name, value;
} cd_header;

typedef struct {
    /* A granted connection, or empty for a URL that is granted by itself. */
    cd_text connection;
    /* "GET", "PUT", ... */
    cd_text method;
    cd_text url;
    const cd_header *headers;
    size_t headers_len;
    cd_text body;
    /* 0: as the connection says. */
    uint32_t timeout_ms;
} cd_request;

typedef struct {
    /* There was no response: `fault` says why, of the right kind. */
    cd_result fault;
    uint16_t status;
    const cd_header *headers;
    size_t headers_len;
    cd_text body;
} cd_response;

cd_response cd_send(const cd_request *request);
/* As many at a time as the connection allows; answers in the order of the requests. */
cd_response *cd_send_all(const cd_request *requests, size_t len);
/* CD_OK for 2xx; else a fault of the kind that fits: transient for 408, 429 and 5xx (with Retry-After), config for 401 and
 * 403, permanent for the rest. Also what `fault` says. */
cd_result cd_status(const cd_response *response);
/* A header by its name in small letters; empty when it is not there. */
cd_text cd_header_of(const cd_response *response, cd_text name);

/* Entries of a table. Values are JSON texts; an empty one means that there is none. */
cd_result cd_table_get(cd_text table, const cd_text *keys, size_t len, cd_text *values);
cd_result cd_table_put(cd_text table, const cd_header *entries, size_t len);
/* Up to `limit` entries whose key starts with `prefix` and comes after `after`; gives how many. */
cd_result cd_table_find(cd_text table, cd_text prefix, cd_text after, uint32_t limit, cd_header **entries, size_t *len);

/* ---- JSON ----------------------------------------------------------------------------------------------------------- */

/* Just enough for configs and for changing a few fields of a record: values are pieces of the text they came in. For more,
 * bring a library. */
typedef enum { CD_NONE, CD_NULL, CD_BOOL, CD_NUMBER, CD_STRING, CD_ARRAY, CD_OBJECT } cd_kind;
/* What the JSON value is that this text begins with; CD_NONE when it is none. */
cd_kind cd_kind_of(cd_text value);
/* Whether the text is exactly one JSON value. */
bool cd_is_json(cd_text text);
/* A member of an object, as it is written; empty when there is none (or `object` is none). */
cd_text cd_member(cd_text object, cd_text name);
/* Goes through an array or an object: start with *at = 0. `name` (may be NULL) gets the name of a member, decoded. */
bool cd_next(cd_text container, size_t *at, cd_text *name, cd_text *value);
/* The text that a JSON string stands for. For what is no string, empty. */
cd_text cd_decode(cd_text string);
/* A whole number; `otherwise` for what is none. */
int64_t cd_integer(cd_text number, int64_t otherwise);
bool cd_true(cd_text value);
/* Appends a text as a JSON string. Bytes that are no UTF-8 become U+FFFD. */
void cd_append_string(cd_buffer *buffer, cd_text text);
/* The object with a member set to this JSON value: in its place, or at the end. Everything else stays byte for byte. */
cd_text cd_set(cd_text object, cd_text name, cd_text value);
/* A fault for the first member of a config that is not among these names (separated by spaces); CD_OK without one. */
cd_result cd_only(cd_text config, cd_text names);

#ifdef __cplusplus
}
#endif
#endif
