#include "decode.h"

#include <math.h>
#include <string.h>

#include "number.h"

/* Where a field is, as people write it: `ACCOUNTS[3].NUMBER`. */
static void put_path(cd_buffer *out, const field *one) {
    if (one->parent && one->parent->parent) {
        put_path(out, one->parent);
        cd_put_byte(out, '.');
    }
    cd_put_string(out, one->name);
    if (one->table) cd_put(out, cd_format("[%u]", (unsigned)one->item));
}

static cd_fault *wrong(const field *one, size_t at, cd_text why) {
    cd_buffer path = {0};
    put_path(&path, one);
    return cd_permanent("%.*s at offset %zu: %.*s", CD_ARG(cd_written_text(&path)), at, CD_ARG(why));
}

/* ---- Values ---- */

static bool is_filled_with(const unsigned char *bytes, size_t len, unsigned char byte) {
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != byte) return false;
    return true;
}

static cd_fault *put_text(decoder *in, const field *one, size_t at, size_t len, cd_buffer *out) {
    const unsigned char *bytes = in->bytes + at;
    unsigned char space = in->set.ebcdic ? 0x40 : ' ';
    if (in->trim_right)
        while (len && (bytes[len - 1] == space || bytes[len - 1] == 0)) len--;
    if (in->trim_left)
        while (len && (*bytes == space || *bytes == 0)) bytes++, len--;
    size_t good = charset_put(&in->set, out, bytes, len);
    if (good == len) return NULL;
    return wrong(one, at, cd_format("the byte 0x%02X is no character of %s", bytes[good], in->set.name));
}

static cd_fault *put_float(decoder *in, const field *one, size_t at, cd_buffer *out) {
    double value = number_float(in->bytes + at, one->usage == DOUBLE ? 8 : 4, in->ieee);
    if (!isfinite(value)) return wrong(one, at, CD("this is no finite number"));
    cd_put_json(out, cd_new_double(value));
    return NULL;
}

static cd_fault *put_number(decoder *in, const field *one, size_t at, cd_buffer *out, bool *is_blank) {
    const unsigned char *bytes = in->bytes + at;
    number value = {0};
    unsigned char space = in->set.ebcdic ? 0x40 : ' ';
    if (one->usage == BINARY || one->usage == NATIVE) {
        number_binary(&value, bytes, one->size_of_one, one->is_signed, one->usage == NATIVE && in->little_endian);
    } else if (is_filled_with(bytes, one->size_of_one, space) || is_filled_with(bytes, one->size_of_one, 0)) {
        *is_blank = true;
        if (in->blanks == BLANK_REJECT) return wrong(one, at, CD("the number is blank"));
        if (in->blanks == BLANK_NULL) return NULL;
        value.count = 1;
        value.digits[0] = '0';
        *is_blank = false;
    } else {
        const char *why = one->usage == PACKED
                              ? number_packed(&value, bytes, one->size_of_one)
                              : number_zoned(&value, bytes, one->digits, one->is_signed, one->leading, one->separate, in->set.ebcdic);
        if (why) {
            cd_buffer shown = {0};
            for (size_t i = 0; i < one->size_of_one && i < 20; i++) cd_put(&shown, cd_format("%02X", bytes[i]));
            return wrong(one, at, cd_format("expected %s, found 0x%.*s", why, CD_ARG(cd_written_text(&shown))));
        }
    }
    number_put(out, &value, one->scale);
    return NULL;
}

/* The value of an elementary field, without quotes. */
static cd_fault *put_plain(decoder *in, field *one, size_t at, cd_buffer *out, bool *is_blank) {
    size_t there = at < in->len ? in->len - at : 0;
    size_t len = one->size_of_one;
    *is_blank = false;
    if (there < len) {
        if (one->numeric || !in->may_be_short)
            return wrong(one, at, cd_format("the record ends within it: it has %zu of %zu bytes", there, len));
        len = there;
    }
    if (!one->numeric) return put_text(in, one, at, len, out);
    if (one->usage == FLOAT || one->usage == DOUBLE) return put_float(in, one, at, out);
    return put_number(in, one, at, out, is_blank);
}

static void seen(decoder *in, field *one, size_t at) {
    if (!one->watched) return;
    one->seen_in = in->number;
    one->seen_at = at;
}

/* Where a watched field is in this record. */
static bool place_of(const decoder *in, const field *one, size_t *at) {
    if (one->seen_in == in->number) {
        *at = one->seen_at;
        return true;
    }
    *at = one->offset;
    return !in->counted_tables && !is_in_table(one);
}

cd_fault *decode_text(decoder *in, field *one, cd_text *text) {
    cd_buffer out = {0};
    bool is_blank;
    size_t at;
    if (!place_of(in, one, &at)) return wrong(one, one->offset, CD("it is needed before it is read"));
    CD_TRY(put_plain(in, one, at, &out, &is_blank));
    *text = cd_written_text(&out);
    return NULL;
}

cd_fault *decode_decision(decoder *in, const decision *made, const char *what, field **taken) {
    cd_text value;
    CD_TRY(decode_text(in, made->by, &value));
    for (const choice *one = made->choices; one; one = one->next)
        if (cd_is(value, one->value)) {
            *taken = one->taken;
            return NULL;
        }
    *taken = made->otherwise;
    if (*taken) return NULL;
    return wrong(made->by, made->by->offset, cd_format("`%.*s` is not named in `%s`", CD_ARG(value), what));
}

/* ---- Tables and groups ---- */

static cd_fault *members(decoder *in, field *group, size_t at, bool *any, size_t *end);

static cd_fault *times(decoder *in, field *table, size_t at, uint32_t *count) {
    *count = table->most;
    if (!table->counter) return NULL;
    cd_text text;
    CD_TRY(decode_text(in, table->counter, &text));
    uint64_t number = 0;
    bool good = text.len > 0 && text.len < 10;
    for (size_t i = 0; good && i < text.len; i++) {
        good = text.ptr[i] >= '0' && text.ptr[i] <= '9';
        number = number * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    if (!text.len) number = 0, good = true;
    if (!good || number < table->least || number > table->most) {
        table->item = 1;
        return wrong(table, at,
                     cd_format("%s says that it is there `%.*s` times, but that is %u to %u", table->counter->name, CD_ARG(text),
                               (unsigned)table->least, (unsigned)table->most));
    }
    *count = (uint32_t)number;
    return NULL;
}

static cd_fault *one_value(decoder *in, field *one, size_t at, size_t *end) {
    if (one->first) {
        bool any = false;
        cd_put_byte(in->out, '{');
        CD_TRY(members(in, one, at, &any, end));
        cd_put_byte(in->out, '}');
        return NULL;
    }
    bool is_blank;
    *end = at + one->size_of_one;
    seen(in, one, at);
    in->scratch.len = 0;
    CD_TRY(put_plain(in, one, at, &in->scratch, &is_blank));
    cd_text plain = cd_written_text(&in->scratch);
    if (is_blank)
        cd_put_string(in->out, "null");
    else if (one->numeric)
        cd_put(in->out, plain);
    else
        cd_put_quoted(in->out, plain);
    return NULL;
}

static cd_fault *table_value(decoder *in, field *table, size_t at, size_t *end) {
    uint32_t count;
    CD_TRY(times(in, table, at, &count));
    size_t start = at;
    cd_put_byte(in->out, '[');
    for (uint32_t i = 0; i < count; i++) {
        if (in->may_be_short && at >= in->len) break;
        if (i) cd_put_byte(in->out, ',');
        table->item = i + 1;
        CD_TRY(one_value(in, table, at, &at));
    }
    cd_put_byte(in->out, ']');
    *end = in->counted_tables ? at : start + table->size;
    return NULL;
}

/* One member of an object; what is in a FILLER are members of the object around it. */
static cd_fault *member(decoder *in, field *one, size_t at, bool *any, size_t *end) {
    if (one->filler && !one->table) {
        *end = at + one->size;
        return one->first ? members(in, one, at, any, end) : NULL;
    }
    if (one->filler || (in->may_be_short && at >= in->len)) {
        uint32_t count = one->most;
        if (one->table && in->counted_tables && at < in->len) CD_TRY(times(in, one, at, &count));
        *end = at + (one->table ? one->size / one->most * count : one->size);
        return NULL;
    }
    if (*any) cd_put_byte(in->out, ',');
    *any = true;
    cd_put(in->out, one->shown);
    return one->table ? table_value(in, one, at, end) : one_value(in, one, at, end);
}

/* A field that has views: the one that is chosen, or all. They are at the same place. */
static cd_fault *views(decoder *in, field *original, size_t at, bool *any, size_t *end) {
    field *taken = original->chosen ? original->chosen : original;
    uint32_t size = original->size;
    for (field *view = original->views; view; view = view->next_view)
        if (view->size > size) size = view->size;
    size_t ignored;
    if (original->decision) CD_TRY(decode_decision(in, original->decision, "redefines", &taken));
    CD_TRY(member(in, original->all ? original : taken, at, any, &ignored));
    if (original->all)
        for (field *view = original->views; view; view = view->next_view) CD_TRY(member(in, view, at, any, &ignored));
    *end = at + size;
    return NULL;
}

static cd_fault *members(decoder *in, field *group, size_t at, bool *any, size_t *end) {
    for (field *one = group->first; one; one = one->next) {
        if (one->original) continue;
        if (one->views)
            CD_TRY(views(in, one, at, any, &at));
        else
            CD_TRY(member(in, one, at, any, &at));
    }
    *end = at;
    return NULL;
}

cd_fault *decode_record(decoder *in, field *record) {
    bool any = false;
    size_t end;
    cd_put_byte(in->out, '{');
    if (record->first) {
        CD_TRY(members(in, record, 0, &any, &end));
    } else {
        /* A record that is one field. */
        field alone = *record;
        alone.filler = false;
        CD_TRY(member(in, &alone, 0, &any, &end));
    }
    cd_put_byte(in->out, '}');
    return NULL;
}
