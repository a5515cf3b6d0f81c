/* What the host offers, over the imports. */
#include "internal.h"

#include <string.h>

/* How much of an answer a fault shows. */
#define SHOWN 200

void cd_log_text(cd_level level, cd_text line) {
    cd_import_log(level, line);
}

void cd_count(const char *name, uint64_t delta) {
    cd_import_count(cd_text_of(name), delta);
}

void cd_gauge(const char *name, double value) {
    cd_import_gauge(cd_text_of(name), value);
}

uint64_t cd_now_ms(void) {
    return cd_import_now_ms();
}

uint64_t cd_random(void) {
    return cd_import_random();
}

/* ---- HTTP ---- */

/* Why a request got no response. The tags are those of `http-error`. */
static cd_fault *unanswered(cd_failure failure, cd_text url) {
    enum { DENIED, INVALID, UNAUTHENTICATED, UNREACHABLE };
    bool of_operator = failure.tag == DENIED || failure.tag == UNAUTHENTICATED;
    cd_fault *fault = cd_fault_of(of_operator ? CD_CONFIG : failure.tag == UNREACHABLE ? CD_TRANSIENT : CD_PERMANENT, failure.text);
    if (failure.tag == UNAUTHENTICATED) cd_at_field(fault, "", "check the connection's user, password and client");
    return cd_at(fault, url);
}

static cd_request completed(cd_request request) {
    if (!request.method.len) request.method = CD("GET");
    return request;
}

cd_fault *cd_send(cd_request request, cd_response *response) {
    request = completed(request);
    cd_failure failure = cd_import_send(&request, response);
    return failure.failed ? unanswered(failure, request.url) : NULL;
}

void cd_send_all(const cd_request *requests, size_t count, cd_answer *answers) {
    if (!count) return;
    cd_request *all = cd_alloc(count * sizeof *all);
    cd_response *responses = cd_alloc(count * sizeof *responses);
    cd_failure *failures = cd_alloc(count * sizeof *failures);
    for (size_t i = 0; i < count; i++) all[i] = completed(requests[i]);
    memset(responses, 0, count * sizeof *responses);
    cd_import_send_all(all, count, responses, failures);
    for (size_t i = 0; i < count; i++)
        answers[i] = (cd_answer){responses[i], failures[i].failed ? unanswered(failures[i], requests[i].url) : NULL};
}

cd_fault *cd_http_get(cd_text connection, cd_text url, cd_response *response) {
    return cd_send((cd_request){.connection = connection, .url = url}, response);
}

cd_request cd_json_request(cd_text method, cd_text connection, cd_text url, const cd_json *body) {
    static const cd_pair type = {{"content-type", 12}, {"application/json", 16}};
    return (cd_request){
        .connection = connection, .method = method, .url = url, .headers = &type, .header_count = 1, .body = cd_to_json(body)};
}

cd_text cd_response_header(const cd_response *response, const char *name) {
    cd_text wanted = cd_lower(cd_text_of(name));
    for (size_t i = 0; i < response->header_count; i++)
        if (cd_equal(cd_lower(response->headers[i].name), wanted)) return response->headers[i].value;
    return (cd_text){0};
}

/* The start of a body on one line. */
static cd_text start_of(cd_text body) {
    cd_buffer out = {0};
    bool gap = false;
    size_t valid = cd_utf8_valid(body);
    for (size_t at = 0; at < valid && out.len < SHOWN;) {
        uint32_t c;
        size_t size = cd_first_char(body.ptr + at, valid - at, &c);
        if (c <= ' ') {
            gap = out.len > 0;
        } else {
            if (gap) cd_put_byte(&out, ' ');
            gap = false;
            cd_put(&out, (cd_text){body.ptr + at, size});
        }
        at += size;
    }
    if (!out.len) return CD("(empty body)");
    if (out.len >= SHOWN) cd_put_string(&out, "\xE2\x80\xA6");
    return cd_written_text(&out);
}

/* `Retry-After` in seconds. A date in it is left to the host's own backoff. */
static bool asked_to_wait(const cd_response *response, uint64_t *ms) {
    cd_text asked = cd_response_header(response, "retry-after");
    uint64_t seconds = 0;
    if (!asked.len || asked.len > 9) return false;
    for (size_t i = 0; i < asked.len; i++) {
        if (asked.ptr[i] < '0' || asked.ptr[i] > '9') return false;
        seconds = seconds * 10 + (uint64_t)(asked.ptr[i] - '0');
    }
    *ms = seconds * 1000;
    return true;
}

cd_fault *cd_error_for_status(const cd_response *response) {
    int status = response->status;
    uint64_t ms;
    if (status < 400) return NULL;
    cd_text message = cd_format("the server answered %d: %.*s", status, CD_ARG(start_of(response->body)));
    if (status == 401 || status == 403)
        return cd_at_field(cd_fault_of(CD_CONFIG, message), "", "check the connection's user and its rights");
    bool again = status == 408 || status == 425 || status == 429 || status >= 500;
    cd_fault *fault = cd_at(cd_fault_of(again ? CD_TRANSIENT : CD_PERMANENT, message), response->url);
    if (again && asked_to_wait(response, &ms)) cd_after(fault, ms);
    return fault;
}

cd_fault *cd_response_json(const cd_response *response, cd_json **value) {
    cd_fault *fault = cd_parse(response->body, value);
    if (!fault) return NULL;
    cd_text start = start_of(response->body);
    fault->message = cd_format("the response is %.*s; %.*s", CD_ARG(fault->message), CD_ARG(start));
    return cd_at(fault, response->url);
}

cd_text cd_url_encode(cd_text text) {
    static const char hex[] = "0123456789ABCDEF";
    cd_buffer out = {0};
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
        if (plain)
            cd_put_byte(&out, (char)c);
        else
            cd_put(&out, (cd_text){(char[]){'%', hex[c >> 4], hex[c & 15]}, 3});
    }
    return cd_written_text(&out);
}

/* ---- Tables ---- */

static cd_fault *of_table(cd_failure failure) {
    enum { DENIED, INVALID, FAILED };
    if (!failure.failed) return NULL;
    return cd_fault_of(failure.tag == DENIED ? CD_CONFIG : failure.tag == FAILED ? CD_TRANSIENT : CD_PERMANENT, failure.text);
}

static void pack(cd_packed *packed, cd_buffer *data, cd_text text) {
    cd_put(data, text);
    packed->ends[packed->count++] = (uint32_t)data->len;
    packed->data = data->ptr;
    packed->size = data->len;
}

static cd_text unpacked(const cd_packed *packed, size_t at) {
    if (at >= packed->count) return (cd_text){0};
    uint32_t start = at ? packed->ends[at - 1] : 0;
    return (cd_text){packed->data ? packed->data + start : "", packed->ends[at] - start};
}

cd_fault *cd_table_get(cd_text table, const cd_text *keys, size_t count, cd_text *values) {
    if (!count) return NULL;
    cd_packed asked = {.ends = cd_alloc(count * sizeof(uint32_t))}, answer = {0};
    cd_buffer data = {0};
    for (size_t i = 0; i < count; i++) pack(&asked, &data, keys[i]);
    CD_TRY(of_table(cd_import_table_get(table, &asked, &answer)));
    for (size_t i = 0; i < count; i++) {
        values[i] = unpacked(&answer, i);
        if (!values[i].len) values[i].ptr = NULL;
    }
    return NULL;
}

cd_fault *cd_table_find(cd_text table, cd_text prefix, cd_text after, uint32_t limit, cd_pair **entries, size_t *count) {
    cd_packed answer = {0};
    CD_TRY(of_table(cd_import_table_find(table, prefix, after, limit, &answer)));
    *count = answer.count / 2;
    *entries = cd_alloc(*count * sizeof **entries);
    for (size_t i = 0; i < *count; i++) (*entries)[i] = (cd_pair){unpacked(&answer, 2 * i), unpacked(&answer, 2 * i + 1)};
    return NULL;
}

cd_fault *cd_table_put(cd_text table, const cd_pair *entries, size_t count) {
    if (!count) return NULL;
    cd_packed put = {.ends = cd_alloc(2 * count * sizeof(uint32_t))};
    cd_buffer data = {0};
    for (size_t i = 0; i < count; i++) {
        pack(&put, &data, entries[i].name);
        pack(&put, &data, entries[i].value);
    }
    return of_table(cd_import_table_put(table, &put));
}
