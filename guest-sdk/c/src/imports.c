/* The contract's imports, as the canonical ABI has them. */
#include "internal.h"

#ifdef __wasm__

#define IMPORT(interface, name) \
    __attribute__((import_module("crossdock:plugin/" interface "@0.1.0"), import_name(name))) extern

IMPORT("log", "write") void wire_log(uint32_t level, const char *line, size_t len);
IMPORT("metrics", "count") void wire_count(const char *name, size_t len, uint64_t delta);
IMPORT("metrics", "gauge") void wire_gauge(const char *name, size_t len, double value);
IMPORT("clock", "now-ms") uint64_t wire_now_ms(void);
IMPORT("random", "next-u64") uint64_t wire_random(void);

void cd_import_log(cd_level level, cd_text line) {
    wire_log(level, line.ptr, line.len);
}

void cd_import_count(cd_text name, uint64_t delta) {
    wire_count(name.ptr, name.len, delta);
}

void cd_import_gauge(cd_text name, double value) {
    wire_gauge(name.ptr, name.len, value);
}

uint64_t cd_import_now_ms(void) {
    return wire_now_ms();
}

uint64_t cd_import_random(void) {
    return wire_random();
}

/* ---- HTTP ---- */

typedef struct wire_response {
    uint8_t failed;
    union {
        struct {
            uint16_t status;
            const cd_pair *headers;
            size_t header_count;
            cd_text body;
        } response;
        struct {
            uint8_t tag;
            cd_text text;
        } error;
    };
} wire_response;
typedef struct wire_responses {
    const wire_response *ptr;
    size_t len;
} wire_responses;
_Static_assert(sizeof(wire_response) == 24 && sizeof(cd_pair) == 16, "response");
_Static_assert(sizeof(cd_request) == 44 && offsetof(cd_request, timeout_ms) == 40, "request");

IMPORT("http-client", "send")
void wire_send(const char *connection, size_t connection_len, const char *method, size_t method_len, const char *url,
               size_t url_len, const cd_pair *headers, size_t header_count, const char *body, size_t body_len,
               uint32_t timeout_ms, wire_response *result);
IMPORT("http-client", "send-all")
void wire_send_all(const cd_request *requests, size_t count, wire_responses *result);

static cd_failure answered(const wire_response *wire, cd_text url, cd_response *response) {
    if (wire->failed) return (cd_failure){true, wire->error.tag, wire->error.text};
    *response = (cd_response){wire->response.status, wire->response.headers, wire->response.header_count, wire->response.body, url};
    return (cd_failure){0};
}

cd_failure cd_import_send(const cd_request *request, cd_response *response) {
    wire_response wire;
    wire_send(request->connection.ptr, request->connection.len, request->method.ptr, request->method.len, request->url.ptr,
              request->url.len, request->headers, request->header_count, request->body.ptr, request->body.len,
              request->timeout_ms, &wire);
    return answered(&wire, request->url, response);
}

void cd_import_send_all(const cd_request *requests, size_t count, cd_response *responses, cd_failure *failures) {
    wire_responses wire;
    wire_send_all(requests, count, &wire);
    for (size_t i = 0; i < count; i++)
        failures[i] = i < wire.len ? answered(&wire.ptr[i], requests[i].url, &responses[i])
                                   : (cd_failure){true, 3, CD("the host gave fewer answers than there were requests")};
}

/* ---- Tables ---- */

typedef struct wire_table {
    uint8_t failed;
    union {
        cd_packed packed;
        struct {
            uint8_t tag;
            cd_text text;
        } error;
    };
} wire_table;
_Static_assert(sizeof(wire_table) == 20 && sizeof(cd_packed) == 16, "packed");

IMPORT("tables", "get-many")
void wire_table_get(const char *table, size_t len, const uint32_t *ends, size_t count, const char *data, size_t size,
                    wire_table *result);
IMPORT("tables", "find")
void wire_table_find(const char *table, size_t len, const char *prefix, size_t prefix_len, const char *after, size_t after_len,
                     uint32_t limit, wire_table *result);
IMPORT("tables", "put")
void wire_table_put(const char *table, size_t len, const uint32_t *ends, size_t count, const char *data, size_t size,
                    wire_table *result);

static cd_failure found(const wire_table *wire, cd_packed *packed) {
    if (wire->failed) return (cd_failure){true, wire->error.tag, wire->error.text};
    if (packed) *packed = wire->packed;
    return (cd_failure){0};
}

cd_failure cd_import_table_get(cd_text table, const cd_packed *keys, cd_packed *values) {
    wire_table wire;
    wire_table_get(table.ptr, table.len, keys->ends, keys->count, keys->data, keys->size, &wire);
    return found(&wire, values);
}

cd_failure cd_import_table_find(cd_text table, cd_text prefix, cd_text after, uint32_t limit, cd_packed *entries) {
    wire_table wire;
    wire_table_find(table.ptr, table.len, prefix.ptr, prefix.len, after.ptr, after.len, limit, &wire);
    return found(&wire, entries);
}

cd_failure cd_import_table_put(cd_text table, const cd_packed *entries) {
    wire_table wire;
    wire_table_put(table.ptr, table.len, entries->ends, entries->count, entries->data, entries->size, &wire);
    return found(&wire, NULL);
}

#endif
