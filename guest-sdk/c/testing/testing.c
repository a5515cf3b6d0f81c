/* A host for tests, and drivers. */
#include "crossdock_testing.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/internal.h"

/* More than a test reads: a source that never ends is cut here. */
#define MOST 100000

static struct {
    const char *name;
    int passed;
    cd_fault *(*answer)(const cd_request *, cd_response *);
    cd_list requests; /* cd_request */
    cd_list tables;   /* entry */
    cd_buffer log;
    uint64_t now, seed;
} host;

typedef struct entry {
    cd_text table, key, value;
} entry;

void cd_test_start(const char *name) {
    int passed = host.passed;
    cd_reset();
    memset(&host, 0, sizeof host);
    host.name = name;
    host.passed = passed;
    host.now = 1767225600000u;
    host.seed = 1;
}

void cd_test_passed(void) {
    host.passed++;
    printf("ok  %s\n", host.name);
}

int cd_test_end(void) {
    printf("%d passed\n", host.passed);
    return 0;
}

void cd_test_failed(const char *file, int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: %s: ", file, line, host.name ? host.name : "test");
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void cd_test_text(const char *file, int line, cd_text text, const char *expected) {
    if (!cd_is(text, expected)) cd_test_failed(file, line, "expected %s\n  found %.*s", expected, CD_ARG(text));
}

void cd_test_int(const char *file, int line, long long number, long long expected) {
    if (number != expected) cd_test_failed(file, line, "expected %lld, found %lld", expected, number);
}

void cd_test_fault(const char *file, int line, const cd_fault *fault, cd_kind kind, const char *words) {
    static const char *const kinds[] = {"transient", "permanent", "config"};
    if (!fault) {
        cd_test_failed(file, line, "expected a fault with `%s`, and there is none", words);
        return;
    }
    if (fault->kind != kind || !strstr(cd_string(fault->message), words))
        cd_test_failed(file, line, "expected a %s fault with `%s`\n  found %s: %.*s", kinds[kind], words, kinds[fault->kind],
                       CD_ARG(fault->message));
}

/* ---- The host ---- */

void cd_test_on_http(cd_fault *(*answer)(const cd_request *, cd_response *)) {
    host.answer = answer;
}

size_t cd_test_requests(void) {
    return host.requests.len / sizeof(cd_request);
}

const cd_request *cd_test_request(size_t at) {
    CD_CHECK(at < cd_test_requests());
    return (const cd_request *)(const void *)host.requests.ptr + at;
}

void cd_test_set_now(uint64_t ms) {
    host.now = ms;
}

cd_text cd_test_log(void) {
    return cd_written_text(&host.log);
}

static entry *entry_of(cd_text table, cd_text key) {
    entry *all = (entry *)(void *)host.tables.ptr;
    for (size_t i = 0; i < host.tables.len / sizeof *all; i++)
        if (cd_equal(all[i].table, table) && cd_equal(all[i].key, key)) return &all[i];
    return NULL;
}

cd_text cd_test_table(const char *table, const char *key) {
    entry *one = entry_of(cd_text_of(table), cd_text_of(key));
    return one && one->value.len ? one->value : (cd_text){0};
}

static void set_entry(cd_text table, cd_text key, cd_text value) {
    entry *one = entry_of(table, key);
    if (!one) {
        one = cd_push(&host.tables, sizeof *one);
        one->table = cd_copy(table);
        one->key = cd_copy(key);
    }
    one->value = cd_copy(value);
}

void cd_test_set_table(const char *table, const char *key, const char *value) {
    set_entry(cd_text_of(table), cd_text_of(key), cd_text_of(value));
}

void cd_import_log(cd_level level, cd_text line) {
    static const char *const levels[] = {"trace", "debug", "info", "warn", "error"};
    cd_put(&host.log, cd_format("%s: %.*s\n", levels[level], CD_ARG(line)));
}

void cd_import_count(cd_text name, uint64_t delta) {
    (void)name, (void)delta;
}

void cd_import_gauge(cd_text name, double value) {
    (void)name, (void)value;
}

uint64_t cd_import_now_ms(void) {
    return host.now;
}

uint64_t cd_import_random(void) {
    host.seed = host.seed * 6364136223846793005u + 1442695040888963407u;
    return host.seed;
}

cd_failure cd_import_send(const cd_request *request, cd_response *response) {
    /* The tags of `http-error`. */
    static const uint8_t tags[] = {[CD_TRANSIENT] = 3, [CD_PERMANENT] = 1, [CD_CONFIG] = 0};
    *(cd_request *)cd_push(&host.requests, sizeof *request) = *request;
    if (!host.answer) {
        cd_test_failed(__FILE__, __LINE__, "nothing answers %.*s: tell it with `cd_test_on_http`", CD_ARG(request->url));
        return (cd_failure){0};
    }
    *response = (cd_response){.status = 200, .url = request->url};
    cd_fault *fault = host.answer(request, response);
    return fault ? (cd_failure){true, tags[fault->kind], fault->message} : (cd_failure){0};
}

void cd_import_send_all(const cd_request *requests, size_t count, cd_response *responses, cd_failure *failures) {
    for (size_t i = 0; i < count; i++) failures[i] = cd_import_send(&requests[i], &responses[i]);
}

static cd_text item(const cd_packed *packed, size_t at) {
    uint32_t start = at ? packed->ends[at - 1] : 0;
    return (cd_text){packed->data ? packed->data + start : "", packed->ends[at] - start};
}

static void add_item(cd_packed *packed, cd_text text) {
    packed->data = cd_realloc(packed->data, packed->size, packed->size + text.len);
    if (text.len) memcpy(packed->data + packed->size, text.ptr, text.len);
    packed->size += text.len;
    packed->ends[packed->count++] = (uint32_t)packed->size;
}

cd_failure cd_import_table_get(cd_text table, const cd_packed *keys, cd_packed *values) {
    *values = (cd_packed){.ends = cd_alloc(keys->count * sizeof(uint32_t))};
    for (size_t i = 0; i < keys->count; i++) {
        entry *one = entry_of(table, item(keys, i));
        add_item(values, one ? one->value : (cd_text){0});
    }
    return (cd_failure){0};
}

static int by_key(const void *a, const void *b) {
    cd_text first = ((const entry *)a)->key, second = ((const entry *)b)->key;
    int order = memcmp(first.ptr, second.ptr, first.len < second.len ? first.len : second.len);
    return order ? order : (first.len > second.len) - (first.len < second.len);
}

cd_failure cd_import_table_find(cd_text table, cd_text prefix, cd_text after, uint32_t limit, cd_packed *entries) {
    size_t count = host.tables.len / sizeof(entry), found = 0;
    entry *all = cd_alloc(count * sizeof *all), limits = {.key = after.ptr ? after : CD("")};
    if (count) memcpy(all, host.tables.ptr, count * sizeof *all);
    if (count) qsort(all, count, sizeof *all, by_key);
    *entries = (cd_packed){.ends = cd_alloc(2 * count * sizeof(uint32_t))};
    for (size_t i = 0; i < count && found < limit; i++) {
        bool fits = cd_equal(all[i].table, table) && all[i].value.len && cd_starts_with(all[i].key, cd_string(prefix));
        if (!fits || by_key(&all[i], &limits) <= 0) continue;
        add_item(entries, all[i].key);
        add_item(entries, all[i].value);
        found++;
    }
    return (cd_failure){0};
}

cd_failure cd_import_table_put(cd_text table, const cd_packed *entries) {
    for (size_t i = 0; i + 1 < entries->count; i += 2) set_entry(table, item(entries, i), item(entries, i + 1));
    return (cd_failure){0};
}

/* ---- Drivers ---- */

static cd_batch batch_of(const char *stream, const cd_input *inputs, size_t count) {
    uint32_t *index = cd_alloc(16 * count);
    cd_buffer data = {0};
    for (size_t i = 0; i < count; i++) {
        cd_put_string(&data, inputs[i].key ? inputs[i].key : "");
        index[4 * i] = index[4 * i + 1] = (uint32_t)data.len;
        cd_put_string(&data, inputs[i].payload ? inputs[i].payload : "{}");
        index[4 * i + 2] = (uint32_t)data.len;
        index[4 * i + 3] = inputs[i].op == CD_DELETE;
    }
    return (cd_batch){cd_text_of(stream), count ? inputs[0].form : CD_JSON, index, 4 * count, cd_written_text(&data).ptr, data.len};
}

static void add_records(cd_list *list, cd_batch batch) {
    cd_batch *kept = cd_alloc(sizeof *kept);
    *kept = batch;
    for (size_t i = 0; i < cd_records(kept); i++) *(cd_record *)cd_push(list, sizeof(cd_record)) = cd_record_at(kept, i);
}

static cd_fault **rejections(const cd_list *rejected, size_t count) {
    cd_fault **out = cd_alloc(count * sizeof *out);
    memset(out, 0, count * sizeof *out);
    const cd_rejection *all = (const cd_rejection *)(const void *)rejected->ptr;
    for (size_t i = 0; i < rejected->len / sizeof *all; i++)
        if (all[i].index < count) out[all[i].index] = all[i].fault;
    return out;
}

cd_fault *cd_test_open_transformer(const cd_transformer *stage, const char *config, const cd_text *snapshot) {
    return cd_transformer_open(stage, cd_text_of(config), snapshot);
}

cd_tested cd_test_apply(const cd_transformer *stage, const char *stream, const cd_input *inputs, size_t count) {
    cd_batch *batch = cd_alloc(sizeof *batch);
    cd_given *given = cd_alloc(sizeof *given);
    cd_list records = {0};
    *batch = batch_of(stream, inputs, count);
    cd_tested out = {.fault = cd_transformer_apply(stage, batch, given)};
    if (out.fault) return out;
    const uint32_t *kept = (const uint32_t *)(const void *)given->kept.ptr;
    if (given->replaces)
        for (cd_builder *one = given->builders; one; one = one->next) add_records(&records, cd_builder_batch(one));
    else
        for (size_t i = 0; i < given->kept.len / 4; i++)
            *(cd_record *)cd_push(&records, sizeof(cd_record)) = cd_record_at(batch, kept[i]);
    out.records = (cd_record *)(void *)records.ptr;
    out.count = records.len / sizeof(cd_record);
    out.rejected = rejections(&given->rejected, count);
    out.filtered = cd_new_object();
    const cd_tally *tallies = (const cd_tally *)(const void *)given->reasons.ptr;
    for (size_t i = 0; i < given->reasons.len / sizeof *tallies; i++)
        cd_set_named(out.filtered, tallies[i].reason, cd_new_int(tallies[i].count));
    return out;
}

cd_tested cd_test_transform(const cd_transformer *stage, const char *config, const char *stream, const cd_input *inputs, size_t count) {
    cd_fault *fault = cd_test_open_transformer(stage, config, NULL);
    return fault ? (cd_tested){.fault = fault} : cd_test_apply(stage, stream, inputs, count);
}

cd_fault *cd_test_open_source(const cd_source *stage, const char *config, const cd_text *snapshot) {
    return cd_source_open(stage, cd_text_of(config), snapshot);
}

cd_tested_page cd_test_read(const cd_source *stage, uint32_t records) {
    cd_page page = {.records = records, .bytes = 1 << 20, .millis = 1000};
    cd_list list = {0};
    cd_tested_page out = {.fault = cd_source_read(stage, &page)};
    if (out.fault) return out;
    if (page.builder) add_records(&list, cd_builder_batch(page.builder));
    out.records = (cd_record *)(void *)list.ptr;
    out.count = list.len / sizeof(cd_record);
    out.unreadable_count = page.unreadable.len / sizeof(cd_unread);
    out.unreadable = cd_alloc(out.unreadable_count * sizeof *out.unreadable);
    out.why = cd_alloc(out.unreadable_count * sizeof *out.why);
    const cd_unread *all = (const cd_unread *)(const void *)page.unreadable.ptr;
    for (size_t i = 0; i < out.unreadable_count; i++) {
        out.unreadable[i] = all[i].data;
        out.why[i] = all[i].fault;
    }
    bool nothing = !out.count && !out.unreadable_count;
    out.end = nothing && page.ends;
    out.idle = nothing && !page.ends;
    return out;
}

/* Everything that a source gives, one page after the other; `lives`: each with a new instance. */
static cd_tested_page read_by(const cd_source *stage, const char *config, uint32_t records, bool lives) {
    cd_tested_page all = {.fault = cd_test_open_source(stage, config, NULL)};
    cd_list list = {0}, unreadable = {0};
    for (size_t pages = 0; !all.fault && !all.end && pages < MOST; pages++) {
        cd_tested_page page = cd_test_read(stage, records);
        all.fault = page.fault;
        all.end = page.end;
        for (size_t i = 0; i < page.count; i++) *(cd_record *)cd_push(&list, sizeof(cd_record)) = page.records[i];
        for (size_t i = 0; i < page.unreadable_count; i++)
            *(cd_unread *)cd_push(&unreadable, sizeof(cd_unread)) = (cd_unread){page.unreadable[i], page.why[i]};
        cd_text snapshot;
        if (all.fault || all.end || !lives) continue;
        all.fault = cd_stage_snapshot(stage->snapshot, &snapshot);
        snapshot = cd_copy(snapshot);
        if (!all.fault && stage->close) stage->close();
        if (!all.fault) all.fault = cd_test_open_source(stage, config, &snapshot);
    }
    all.records = (cd_record *)(void *)list.ptr;
    all.count = list.len / sizeof(cd_record);
    all.unreadable_count = unreadable.len / sizeof(cd_unread);
    all.unreadable = cd_alloc(all.unreadable_count * sizeof *all.unreadable);
    all.why = cd_alloc(all.unreadable_count * sizeof *all.why);
    for (size_t i = 0; i < all.unreadable_count; i++) {
        all.unreadable[i] = ((cd_unread *)(void *)unreadable.ptr)[i].data;
        all.why[i] = ((cd_unread *)(void *)unreadable.ptr)[i].fault;
    }
    return all;
}

cd_tested_page cd_test_read_all(const cd_source *stage, const char *config) {
    cd_tested_page whole = read_by(stage, config, 1000, false);
    if (whole.fault) return whole;
    cd_tested_page parts = read_by(stage, config, 1, true);
    CD_CHECK(!parts.fault);
    CD_CHECK_INT((long long)parts.count, (long long)whole.count);
    CD_CHECK_INT((long long)parts.unreadable_count, (long long)whole.unreadable_count);
    for (size_t i = 0; i < whole.count; i++) {
        CD_CHECK_TEXT(parts.records[i].key, cd_string(whole.records[i].key));
        CD_CHECK_TEXT(parts.records[i].payload, cd_string(whole.records[i].payload));
    }
    return whole;
}

cd_fault *cd_test_open_sink(const cd_sink *stage, const char *config, const cd_text *snapshot) {
    return cd_sink_open(stage, cd_text_of(config), snapshot);
}

cd_tested cd_test_write(const cd_sink *stage, const char *stream, const cd_input *inputs, size_t count) {
    cd_batch *batch = cd_alloc(sizeof *batch);
    cd_written *written = cd_alloc(sizeof *written);
    cd_list records = {0};
    *batch = batch_of(stream, inputs, count);
    cd_tested out = {.fault = cd_sink_write(stage, batch, written)};
    if (out.fault) return out;
    if (written->receipts) add_records(&records, cd_builder_batch(written->receipts));
    out.records = (cd_record *)(void *)records.ptr;
    out.count = records.len / sizeof(cd_record);
    out.rejected = rejections(&written->rejected, count);
    return out;
}
