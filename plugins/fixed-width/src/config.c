#include "config.h"

#include <stdlib.h>
#include <string.h>

static void *kept(size_t bytes) {
    void *place = calloc(1, bytes ? bytes : 1);
    if (!place) abort();
    return place;
}

static const char *kept_string(cd_text text) {
    cd_text copy = {0};
    cd_keep(&copy, text);
    return copy.ptr ? copy.ptr : "";
}

static const char *capitals(cd_text text) {
    return kept_string(cd_upper(text));
}

/* A text, or a list of texts. */
static size_t texts(const cd_json *value, const char **out, size_t room) {
    size_t count = 0;
    if (cd_type_of(value) == CD_TEXT && room) out[count++] = kept_string(cd_as_text(value, CD("")));
    for (const cd_json *one = cd_first(value); one && count < room; one = cd_next(one)) out[count++] = kept_string(cd_as_text(one, CD("")));
    return count;
}

static cd_fault *read_book(const cd_json *config, settings *out) {
    const cd_json *given = cd_get(config, "copybook");
    cd_text text = cd_as_text(given, cd_get_text(given, "text", ""));
    const char *file = cd_string(cd_get_text(given, "name", "copybook"));
    cd_text names = cd_get_text(config, "names", "as-written");
    naming naming = cd_is(names, "snake") ? SNAKE : cd_is(names, "camel") ? CAMEL : AS_WRITTEN;
    return copybook_parse(text, file, naming, &out->book);
}

static field *record_named(const settings *all, const char *name) {
    for (field *one = all->book.first; one; one = one->next)
        if (strcmp(one->name, name) == 0) return one;
    return NULL;
}

/* The view of this name of a field: itself, or one that redefines it. */
static field *view_named(field *original, const char *name) {
    if (strcmp(original->name, name) == 0) return original;
    for (field *view = original->views; view; view = view->next_view)
        if (strcmp(view->name, name) == 0) return view;
    return NULL;
}

/* In any layout. */
static field *field_named(const settings *all, const char *name) {
    for (field *record = all->book.first; record; record = record->next) {
        field *found = copybook_find(record, name);
        if (found) return found;
    }
    return NULL;
}

static field *layout_of(field *one) {
    while (one->parent) one = one->parent;
    return one;
}

static cd_text pointer(const char *start, cd_text name) {
    return cd_format("%s/%.*s", start, CD_ARG(name));
}

static cd_fault *no_field(const char *name, cd_text at) {
    return cd_at_field(cd_config_fault("the copybook has no field `%s`", name), cd_string(at), "write it as in the copybook");
}

/* `{ by: FIELD, when: { VALUE: NAME }, otherwise: NAME }`; `of`: the field with views, NULL: layouts of records. */
static cd_fault *read_decision(const settings *all, const cd_json *given, field *of, cd_text at, decision **out) {
    decision *made = kept(sizeof *made);
    const char *by = capitals(cd_get_text(given, "by", ""));
    made->by = of ? copybook_find(layout_of(of), by) : copybook_find(all->book.first, by);
    if (!made->by || made->by->first || is_in_table(made->by)) return no_field(by, pointer(cd_string(at), CD("by")));
    made->by->watched = true;
    choice **last = &made->choices;
    const cd_json *otherwise = cd_get(given, "otherwise");
    for (const cd_json *one = cd_first(cd_get(given, "when")); one; one = cd_next(one)) {
        const char *name = capitals(cd_as_text(one, CD("")));
        choice *next = kept(sizeof *next);
        next->value = kept_string(cd_name(one));
        next->taken = of ? view_named(of, name) : record_named(all, name);
        if (!next->taken) return no_field(name, pointer(cd_string(cd_format("%.*s/when", CD_ARG(at))), cd_name(one)));
        *last = next;
        last = &next->next;
    }
    if (otherwise) {
        const char *name = capitals(cd_as_text(otherwise, CD("")));
        made->otherwise = of ? view_named(of, name) : record_named(all, name);
        if (!made->otherwise) return no_field(name, pointer(cd_string(at), CD("otherwise")));
    }
    *out = made;
    return NULL;
}

static bool has_counter(const field *one) {
    if (one->counter) return true;
    for (const field *child = one->first; child; child = child->next)
        if (has_counter(child)) return true;
    return false;
}

/* Where tables have as many items as are counted, a field in one of two views would have no place. */
static cd_fault *no_counted_views(const field *one) {
    bool views = one->original || one->views;
    if (views && has_counter(one))
        return cd_at_field(cd_config_fault("%s has another view and a table DEPENDING ON another field", one->name), "/variable-occurs",
                           "leave it out, or change the copybook");
    for (const field *child = one->first; child; child = child->next) CD_TRY(no_counted_views(child));
    return NULL;
}

static cd_fault *read_views(const cd_json *config, settings *out) {
    for (const cd_json *one = cd_first(cd_get(config, "redefines")); one; one = cd_next(one)) {
        const char *name = capitals(cd_name(one));
        cd_text at = pointer("/redefines", cd_name(one));
        field *original = field_named(out, name);
        if (!original || !original->views)
            return cd_at_field(cd_config_fault("`%s` is no field that another one redefines", name), cd_string(at),
                               "name the field that stands behind REDEFINES");
        if (cd_type_of(one) != CD_TEXT) {
            CD_TRY(read_decision(out, one, original, at, &original->decision));
            continue;
        }
        cd_text taken = cd_as_text(one, CD(""));
        original->all = cd_is(taken, "all");
        original->chosen = original->all ? original : view_named(original, capitals(taken));
        if (!original->chosen) return no_field(capitals(taken), at);
    }
    return NULL;
}

static cd_fault *read_layouts(const cd_json *config, settings *out) {
    const cd_json *given = cd_get(config, "layouts");
    out->only = out->book.first;
    if (given) {
        CD_TRY(read_decision(out, given, NULL, CD("/layouts"), &out->layouts));
        out->only = NULL;
    } else if (out->book.first->next) {
        return cd_at_field(cd_config_fault("the copybook has several records at level 01, first %s and %s", out->book.first->name,
                                           out->book.first->next->name),
                           "/layouts", "say which one when: `layouts: { by: FIELD, when: { VALUE: RECORD } }`");
    }
    for (field *one = out->book.first; one; one = one->next) {
        if (one->size > out->length) out->length = one->size;
        if (out->decoder.counted_tables) CD_TRY(no_counted_views(one));
    }
    return NULL;
}

static cd_fault *read_keys(const cd_json *config, settings *out) {
    out->key_count = texts(cd_get(config, "key"), out->keys, MOST_KEYS);
    for (size_t i = 0; i < out->key_count; i++) {
        out->keys[i] = capitals(cd_text_of(out->keys[i]));
        bool found = false;
        for (field *record = out->book.first; record; record = record->next) {
            field *one = copybook_find(record, out->keys[i]);
            if (!one) continue;
            if (one->first || is_in_table(one))
                return cd_at_field(cd_config_fault("`%s` is a group, or is in a table: it is no key", out->keys[i]), "/key", "name a single field");
            one->watched = found = true;
        }
        if (!found) return no_field(out->keys[i], CD("/key"));
    }
    return NULL;
}

static cd_fault *read_framing(const cd_json *config, settings *out) {
    static const char *const names[] = {"fixed", "lines", "rdw", "rdw-payload", "rdw-little-endian"};
    cd_text given = cd_get_text(config, "records", "fixed");
    for (framing i = FIXED; i <= RDW_LITTLE; i++)
        if (cd_is(given, names[i])) out->framing = i;
    int64_t length = cd_get_int(config, "record-length", 0);
    if (length && length < out->length)
        return cd_at_field(cd_config_fault("a record has %lld bytes, but the copybook has %u", (long long)length, (unsigned)out->length),
                           "/record-length", "correct the length, or the copybook");
    if (out->framing == FIXED && out->decoder.counted_tables)
        return cd_at_field(cd_config_fault("records of a fixed length have tables of a fixed length"), "/variable-occurs",
                           "leave it out, or say how records are told apart: `records: rdw`");
    if (length) out->length = (uint32_t)length;
    if (out->length == 0) return cd_at_field(cd_config_fault("a record has no bytes"), "/copybook", "correct the copybook");
    out->decoder.may_be_short = out->framing >= RDW;
    out->most_bytes = (uint32_t)cd_get_int(config, "max-record-bytes", 1 << 20);
    if (out->most_bytes < out->length) out->most_bytes = out->length;
    return NULL;
}

static cd_fault *read_decoder(const cd_json *config, decoder *out) {
    cd_text encoding = cd_get_text(config, "encoding", "cp037");
    cd_text trim = cd_get_text(config, "trim", "right");
    cd_text blanks = cd_get_text(config, "blank-numbers", "null");
    if (!charset_find(encoding, &out->set))
        return cd_at_field(cd_config_fault("the encoding `%.*s` is not known", CD_ARG(encoding)), "/encoding", "`cp037`, `cp273`, `iso-8859-1`");
    out->trim_right = !cd_is(trim, "none");
    out->trim_left = cd_is(trim, "both");
    out->blanks = cd_is(blanks, "zero") ? BLANK_ZERO : cd_is(blanks, "reject") ? BLANK_REJECT : BLANK_NULL;
    out->counted_tables = cd_get_bool(config, "variable-occurs", false);
    out->little_endian = cd_is(cd_get_text(config, "comp-5", "big-endian"), "little-endian");
    out->ieee = cd_is(cd_get_text(config, "floats", "ibm"), "ieee");
    return NULL;
}

cd_fault *settings_read(const cd_json *config, settings *out) {
    const cd_json *files = cd_get(config, "files");
    size_t room = cd_type_of(files) == CD_TEXT ? 1 : cd_count_of(files);
    *out = (settings){0};
    out->patterns = kept(room * sizeof *out->patterns);
    out->pattern_count = texts(files, out->patterns, room);
    out->skip = (uint32_t)cd_get_int(config, "skip-records", 0);
    cd_text stream = cd_get_text(config, "stream", NULL);
    out->stream = stream.len ? kept_string(stream) : NULL;
    CD_TRY(read_decoder(config, &out->decoder));
    CD_TRY(read_book(config, out));
    CD_TRY(read_layouts(config, out));
    CD_TRY(read_views(config, out));
    CD_TRY(read_keys(config, out));
    return read_framing(config, out);
}

cd_text settings_stream(const settings *all, const field *layout) {
    return all->stream ? cd_text_of(all->stream) : cd_lower(cd_text_of(layout->name));
}
