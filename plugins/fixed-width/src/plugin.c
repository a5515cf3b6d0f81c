/* Reads files of fixed fields, as COBOL programs write them: a copybook says what a record is. */
#include <stdlib.h>
#include <string.h>

#include "files.h"

static settings config;
static const char **files;
static size_t file_count;

/* Which file is read, how far, and how many records of it that were. */
static size_t current;
static input in = {.file = -1};
static uint64_t record;
/* Counts what was decoded, so that no two have the same number. */
static uint64_t decoded;

static cd_fault *check(const cd_json *given) {
    settings checked;
    const char **names;
    size_t count;
    CD_TRY(settings_read(given, &checked));
    return files_find(&checked, &names, &count);
}

static cd_fault *streams(const cd_json *given, cd_streams *out) {
    settings all;
    CD_TRY(settings_read(given, &all));
    for (const field *one = all.book.first; one; one = one->next) {
        cd_text *keys = cd_alloc(MOST_KEYS * sizeof *keys);
        size_t count = 0;
        for (; count < all.key_count; count++) {
            const field *key = copybook_find((field *)one, all.keys[count]);
            if (!key) break;
            /* As it is given out, without `":`. */
            keys[count] = (cd_text){key->shown.ptr + 1, key->shown.len - 3};
        }
        bool keyed = count == all.key_count;
        cd_add_stream(out, (cd_stream){.name = settings_stream(&all, one), .key = keys, .keys = keyed ? count : 0});
        if (all.stream) break;
    }
    return NULL;
}

/* ---- Where it is ---- */

static cd_fault *foreign(void) {
    return cd_config_fault("the snapshot is not one of this plugin");
}

static cd_fault *go_on(cd_text snapshot) {
    cd_json *known = NULL;
    if (cd_parse(snapshot, &known)) return foreign();
    cd_text name = cd_get_text(known, "file", NULL), mark = cd_get_text(known, "mark", NULL), there;
    int64_t offset = cd_get_int(known, "offset", -1), number = cd_get_int(known, "record", -1);
    if (!name.ptr || !mark.ptr || offset < 0 || number < 0) return foreign();
    for (current = 0; current < file_count && !cd_is(name, files[current]);) current++;
    if (current == file_count)
        return cd_at_field(cd_config_fault("the file `%.*s`, of which %lld records were read, is gone", CD_ARG(name), (long long)number), "/files",
                           "put it back, or start the flow anew");
    CD_TRY(input_mark(files[current], (uint64_t)offset, &there));
    if (!cd_equal(mark, there))
        return cd_at_field(cd_config_fault("the file `%.*s` has changed since %lld records of it were read", CD_ARG(name), (long long)number),
                           "/files", "put it back, or start the flow anew");
    record = (uint64_t)number;
    return input_open(&in, files[current], (uint64_t)offset);
}

static cd_fault *open_it(const cd_json *given, const cd_text *snapshot) {
    input_close(&in);
    CD_TRY(settings_read(given, &config));
    CD_TRY(files_find(&config, &files, &file_count));
    current = 0;
    record = 0;
    return snapshot && snapshot->len ? go_on(*snapshot) : input_open(&in, files[0], 0);
}

static cd_fault *snapshot_it(cd_text *snapshot) {
    cd_text mark;
    CD_TRY(input_mark(files[current], in.offset, &mark));
    cd_json *known = cd_new_object();
    cd_set(known, "file", cd_new_text(cd_text_of(files[current])));
    cd_set(known, "offset", cd_new_int((int64_t)in.offset));
    cd_set(known, "record", cd_new_int((int64_t)record));
    cd_set(known, "mark", cd_new_text(mark));
    *snapshot = cd_to_json(known);
    return NULL;
}

/* ---- Records ---- */

static bool is_blank(const unsigned char *bytes, size_t len) {
    unsigned char space = config.decoder.set.ebcdic ? 0x40 : ' ';
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != space && bytes[i] != 0) return false;
    return true;
}

/* A record as long as its layout says: a line may have lost the blanks at its end. */
static cd_fault *fit(const field *layout, const unsigned char **bytes, size_t *len) {
    if (*len > layout->size && config.framing != FIXED && !is_blank(*bytes + layout->size, *len - layout->size))
        return cd_permanent("the record has %zu bytes, but %s has %u: add what is behind it to the copybook", *len, layout->name,
                            (unsigned)layout->size);
    if (config.framing != LINES || *len >= layout->size) return NULL;
    unsigned char *padded = cd_alloc(layout->size);
    memcpy(padded, *bytes, *len);
    memset(padded + *len, config.decoder.set.ebcdic ? 0x40 : ' ', layout->size - *len);
    *bytes = padded;
    *len = layout->size;
    return NULL;
}

static cd_fault *key_of(decoder *now, field *layout, cd_text *key) {
    cd_buffer text = {0};
    for (size_t i = 0; i < config.key_count; i++) {
        field *one = copybook_find(layout, config.keys[i]);
        cd_text part = CD("");
        if (one) CD_TRY(decode_text(now, one, &part));
        if (i) cd_put_byte(&text, '/');
        cd_put(&text, part);
    }
    *key = cd_written_text(&text);
    return NULL;
}

/* The record that was found, in JSON. */
static cd_fault *decode(const found *one, cd_buffer *json, field **layout, cd_text *key) {
    decoder now = config.decoder;
    const unsigned char *bytes = one->bytes;
    size_t len = one->len;
    *layout = config.only ? config.only : config.book.first;
    now.number = ++decoded;
    now.out = json;
    json->len = 0;
    if (config.layouts) {
        now.bytes = bytes;
        now.len = len;
        CD_TRY(decode_decision(&now, config.layouts, "layouts", layout));
    }
    CD_TRY(fit(*layout, &bytes, &len));
    now.bytes = bytes;
    now.len = len;
    CD_TRY(decode_record(&now, *layout));
    return key_of(&now, *layout, key);
}

/* Gives one record. false: it is for the next page. */
static bool give(cd_page *page, const found *one, cd_json *headers, cd_buffer *json) {
    field *layout;
    cd_text key = {0};
    cd_fault *fault = one->broken ? one->broken : decode(one, json, &layout, &key);
    if (fault) {
        fault->message = cd_format("record %llu at byte %llu: %.*s", (unsigned long long)record + 1, (unsigned long long)in.offset,
                                   CD_ARG(fault->message));
        cd_at(fault, cd_format("%s:%llu", in.name, (unsigned long long)record + 1));
        return cd_add_unreadable(page, (cd_text){(const char *)one->bytes, one->len}, fault);
    }
    return cd_add(page, (cd_output){.json = cd_written_text(json), .stream = settings_stream(&config, layout), .key = key, .headers = headers});
}

static cd_fault *done(const found *one) {
    if (one->whole <= in.end - in.start) {
        input_skip(&in, (size_t)one->whole);
        return NULL;
    }
    return input_open(&in, in.name, in.offset + one->whole);
}

static cd_json *headers_of(const char *name) {
    cd_json *headers = cd_new_object();
    cd_set(headers, "file", cd_new_text(cd_text_of(name)));
    return headers;
}

static cd_fault *read_it(cd_page *page) {
    cd_buffer json = {0};
    if (in.file < 0) CD_TRY(input_open(&in, files[current], in.offset));
    cd_json *headers = headers_of(in.name);
    while (cd_wants(page)) {
        found one;
        CD_TRY(input_next(&in, &config, &one));
        if (one.end) {
            if (current + 1 == file_count) {
                cd_end(page);
                return NULL;
            }
            current++;
            record = 0;
            CD_TRY(input_open(&in, files[current], 0));
            headers = headers_of(in.name);
            continue;
        }
        bool is_left_out = !one.broken && (record < config.skip || (config.framing == LINES && is_blank(one.bytes, one.len)));
        if (!is_left_out && !give(page, &one, headers, &json)) return NULL;
        record++;
        CD_TRY(done(&one));
    }
    return NULL;
}

static void close_it(void) {
    input_close(&in);
    free(in.bytes);
    in = (input){.file = -1};
}

const cd_source crossdock_source = {
    .check = check, .streams = streams, .open = open_it, .read = read_it, .snapshot = snapshot_it, .close = close_it};
