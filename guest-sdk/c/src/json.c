/* JSON: a strict reader into a tree that keeps what was written, and a writer. */
#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Deeper values are refused: this reads them by recursion. */
#define DEPTH 256

struct cd_json {
    cd_type type;
    bool named;
    /* As written: a number, `true`, `false`, `null`, or what is between the quotes of a text. */
    cd_text raw;
    /* What is between the quotes of a member's name. */
    cd_text name;
    cd_json *first, *last, *next;
};

typedef struct reader {
    const char *start, *at, *end;
    const char *expected;
    int depth;
} reader;

static cd_json *value(reader *in);

static void space(reader *in) {
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\n' || *in->at == '\r' || *in->at == '\t')) in->at++;
}

static void *wrong(reader *in, const char *expected) {
    if (!in->expected) in->expected = expected;
    return NULL;
}

static cd_json *node(cd_type type, cd_text raw) {
    cd_json *one = cd_alloc(sizeof *one);
    *one = (cd_json){.type = type, .raw = raw};
    return one;
}

static bool take(reader *in, char byte) {
    if (in->at == in->end || *in->at != byte) return false;
    in->at++;
    return true;
}

static bool is_hex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Behind the quote that opens. */
static bool quoted(reader *in, cd_text *raw) {
    const char *from = in->at;
    while (in->at < in->end) {
        unsigned char c = (unsigned char)*in->at;
        if (c == '"') {
            *raw = (cd_text){from, (size_t)(in->at - from)};
            in->at++;
            return true;
        }
        if (c < 0x20) return wrong(in, "no control character in a text");
        if (c == '\\') {
            size_t left = (size_t)(in->end - in->at);
            if (left < 2) break;
            if (in->at[1] == 'u') {
                for (size_t i = 2; i < 6; i++)
                    if (left <= i || !is_hex(in->at[i])) return wrong(in, "four hexadecimal digits behind `\\u`");
                in->at += 6;
            } else {
                if (!memchr("\"\\/bfnrt", in->at[1], 8)) return wrong(in, "a character that can be escaped");
                in->at += 2;
            }
            continue;
        }
        uint32_t ignored;
        size_t size = c < 0x80 ? 1 : cd_first_char(in->at, (size_t)(in->end - in->at), &ignored);
        if (!size) return wrong(in, "UTF-8");
        in->at += size;
    }
    return wrong(in, "the `\"` that ends a text");
}

static size_t digits(reader *in) {
    const char *from = in->at;
    while (in->at < in->end && *in->at >= '0' && *in->at <= '9') in->at++;
    return (size_t)(in->at - from);
}

static cd_json *number(reader *in) {
    const char *from = in->at;
    take(in, '-');
    if (!take(in, '0') && !digits(in)) return wrong(in, "a digit");
    if (take(in, '.') && !digits(in)) return wrong(in, "a digit behind the point");
    if (in->at < in->end && (*in->at == 'e' || *in->at == 'E')) {
        in->at++;
        if (!take(in, '+')) take(in, '-');
        if (!digits(in)) return wrong(in, "a digit of the exponent");
    }
    return node(CD_NUMBER, (cd_text){from, (size_t)(in->at - from)});
}

static cd_json *word(reader *in, cd_type type, cd_text word) {
    if ((size_t)(in->end - in->at) < word.len || memcmp(in->at, word.ptr, word.len) != 0) return wrong(in, "a value");
    in->at += word.len;
    return node(type, word);
}

static void attach(cd_json *container, cd_json *one) {
    if (container->last)
        container->last->next = one;
    else
        container->first = one;
    container->last = one;
}

static cd_json *container(reader *in, cd_type type, char close) {
    cd_json *all = node(type, (cd_text){0});
    if (++in->depth > DEPTH) return wrong(in, "no deeper nesting");
    space(in);
    if (!take(in, close)) {
        do {
            cd_text name = {0};
            space(in);
            if (type == CD_OBJECT) {
                if (!take(in, '"')) return wrong(in, "the name of a member");
                if (!quoted(in, &name)) return NULL;
                space(in);
                if (!take(in, ':')) return wrong(in, "`:`");
            }
            cd_json *one = value(in);
            if (!one) return NULL;
            one->name = name;
            one->named = type == CD_OBJECT;
            attach(all, one);
            space(in);
        } while (take(in, ','));
        if (!take(in, close)) return wrong(in, type == CD_OBJECT ? "`,` or `}`" : "`,` or `]`");
    }
    in->depth--;
    return all;
}

static cd_json *value(reader *in) {
    space(in);
    if (in->at == in->end) return wrong(in, "a value");
    switch (*in->at) {
        case '{': in->at++; return container(in, CD_OBJECT, '}');
        case '[': in->at++; return container(in, CD_LIST, ']');
        case '"': {
            cd_text raw;
            in->at++;
            return quoted(in, &raw) ? node(CD_TEXT, raw) : NULL;
        }
        case 't': return word(in, CD_BOOL, CD("true"));
        case 'f': return word(in, CD_BOOL, CD("false"));
        case 'n': return word(in, CD_NULL, CD("null"));
        default:
            if (*in->at == '-' || (*in->at >= '0' && *in->at <= '9')) return number(in);
            return wrong(in, "a value");
    }
}

cd_fault *cd_parse(cd_text text, cd_json **out) {
    if (!text.ptr) text = CD("");
    reader in = {text.ptr, text.ptr, text.ptr + text.len, NULL, 0};
    cd_json *all = value(&in);
    if (all) {
        space(&in);
        if (in.at != in.end) all = wrong(&in, "the end");
    }
    if (!all) {
        size_t at = (size_t)(in.at - in.start);
        if (in.at == in.end) return cd_permanent("no JSON: at its end %s was expected", in.expected);
        return cd_permanent("no JSON: at byte %zu %s was expected", at, in.expected);
    }
    *out = all;
    return NULL;
}

/* ---- Texts in JSON ---- */

static uint32_t hex4(const char *at) {
    uint32_t number = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        number = number * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return number;
}

/* What is between quotes, without escapes. It was checked when it was read, or is made here. */
static cd_text decoded(cd_text raw) {
    if (!raw.len || !memchr(raw.ptr, '\\', raw.len)) return raw.ptr ? raw : CD("");
    static const char shorts[] = "b\bf\fn\nr\rt\t";
    cd_buffer out = {0};
    for (size_t at = 0; at < raw.len; at++) {
        if (raw.ptr[at] != '\\') {
            cd_put_byte(&out, raw.ptr[at]);
            continue;
        }
        char kind = raw.ptr[++at];
        if (kind != 'u') {
            const char *known = strchr(shorts, kind);
            cd_put_byte(&out, kind != '"' && kind != '\\' && kind != '/' && known ? known[1] : kind);
            continue;
        }
        uint32_t c = hex4(raw.ptr + at + 1);
        at += 4;
        if (c >= 0xD800 && c < 0xDC00 && at + 6 < raw.len && raw.ptr[at + 1] == '\\' && raw.ptr[at + 2] == 'u') {
            uint32_t low = hex4(raw.ptr + at + 3);
            if (low >= 0xDC00 && low < 0xE000) {
                c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
                at += 6;
            }
        }
        cd_put_char(&out, c >= 0xD800 && c < 0xE000 ? 0xFFFD : c);
    }
    return cd_written_text(&out);
}

static void put_escaped(cd_buffer *out, cd_text text) {
    static const char hex[] = "0123456789abcdef";
    size_t plain = 0;
    for (size_t at = 0; at < text.len;) {
        unsigned char c = (unsigned char)text.ptr[at];
        uint32_t ignored;
        size_t size = 1;
        if (c >= 0x20 && c != '"' && c != '\\' && (c < 0x80 || (size = cd_first_char(text.ptr + at, text.len - at, &ignored)))) {
            at += size;
            continue;
        }
        cd_put(out, (cd_text){text.ptr + plain, at - plain});
        if (c >= 0x80) {
            cd_put_string(out, "\xEF\xBF\xBD");
        } else if (c == '"' || c == '\\') {
            cd_put(out, (cd_text){(char[]){'\\', (char)c}, 2});
        } else if (c == '\n' || c == '\r' || c == '\t') {
            cd_put(out, (cd_text){(char[]){'\\', c == '\n' ? 'n' : c == '\r' ? 'r' : 't'}, 2});
        } else {
            cd_put(out, (cd_text){(char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6});
        }
        plain = ++at;
    }
    cd_put(out, (cd_text){text.ptr + plain, text.len - plain});
}

static cd_text escaped(cd_text text) {
    cd_buffer out = {0};
    put_escaped(&out, text);
    return cd_written_text(&out);
}

void cd_put_quoted(cd_buffer *buffer, cd_text text) {
    cd_put_byte(buffer, '"');
    put_escaped(buffer, text);
    cd_put_byte(buffer, '"');
}

/* ---- Looking ---- */

cd_type cd_type_of(const cd_json *one) {
    return one ? one->type : CD_MISSING;
}

cd_json *cd_get_named(const cd_json *object, cd_text name) {
    cd_json *found = NULL;
    if (cd_type_of(object) != CD_OBJECT) return NULL;
    for (cd_json *one = object->first; one; one = one->next)
        if (cd_equal(one->name, name) || (one->name.len > name.len && cd_equal(decoded(one->name), name))) found = one;
    return found;
}

cd_json *cd_get(const cd_json *object, const char *name) {
    return cd_get_named(object, cd_text_of(name));
}

cd_json *cd_first(const cd_json *container) {
    return container ? container->first : NULL;
}

cd_json *cd_next(const cd_json *one) {
    return one ? one->next : NULL;
}

cd_text cd_name(const cd_json *member) {
    return member && member->named ? decoded(member->name) : (cd_text){0};
}

size_t cd_count_of(const cd_json *container) {
    size_t count = 0;
    for (const cd_json *one = cd_first(container); one; one = one->next) count++;
    return count;
}

cd_text cd_as_text(const cd_json *one, cd_text otherwise) {
    return cd_type_of(one) == CD_TEXT ? decoded(one->raw) : otherwise;
}

cd_text cd_as_digits(const cd_json *one) {
    return cd_type_of(one) == CD_NUMBER ? one->raw : (cd_text){0};
}

int64_t cd_as_int(const cd_json *one, int64_t otherwise) {
    cd_text raw = cd_as_digits(one);
    bool minus = raw.len && raw.ptr[0] == '-';
    uint64_t most = (uint64_t)INT64_MAX + minus, number = 0;
    if (!raw.len) return otherwise;
    for (size_t at = minus; at < raw.len; at++) {
        if (raw.ptr[at] < '0' || raw.ptr[at] > '9') return otherwise;
        uint64_t digit = (uint64_t)(raw.ptr[at] - '0');
        if (number > (most - digit) / 10) return otherwise;
        number = number * 10 + digit;
    }
    return minus ? (int64_t)(0 - number) : (int64_t)number;
}

double cd_as_double(const cd_json *one, double otherwise) {
    cd_text raw = cd_as_digits(one);
    return raw.len ? strtod(cd_string(raw), NULL) : otherwise;
}

bool cd_as_bool(const cd_json *one, bool otherwise) {
    return cd_type_of(one) == CD_BOOL ? one->raw.ptr[0] == 't' : otherwise;
}

cd_text cd_get_text(const cd_json *object, const char *name, const char *otherwise) {
    return cd_as_text(cd_get(object, name), cd_text_of(otherwise));
}

int64_t cd_get_int(const cd_json *object, const char *name, int64_t otherwise) {
    return cd_as_int(cd_get(object, name), otherwise);
}

bool cd_get_bool(const cd_json *object, const char *name, bool otherwise) {
    return cd_as_bool(cd_get(object, name), otherwise);
}

/* ---- Making ---- */

cd_json *cd_new_object(void) {
    return node(CD_OBJECT, (cd_text){0});
}

cd_json *cd_new_list(void) {
    return node(CD_LIST, (cd_text){0});
}

cd_json *cd_new_text(cd_text text) {
    return node(CD_TEXT, escaped(text));
}

cd_json *cd_new_int(int64_t number) {
    cd_buffer out = {0};
    cd_put_integer(&out, number);
    return node(CD_NUMBER, cd_written_text(&out));
}

cd_json *cd_new_double(double number) {
    if (!isfinite(number)) return cd_new_null();
    for (int digits = 15; digits < 17; digits++) {
        cd_text text = cd_format("%.*g", digits, number);
        if (strtod(text.ptr, NULL) == number) return node(CD_NUMBER, text);
    }
    return node(CD_NUMBER, cd_format("%.17g", number));
}

cd_json *cd_new_bool(bool yes) {
    return node(CD_BOOL, yes ? CD("true") : CD("false"));
}

cd_json *cd_new_null(void) {
    return node(CD_NULL, CD("null"));
}

static void detach(cd_json *object, const cd_json *gone) {
    cd_json *before = NULL;
    for (cd_json *one = object->first; one; before = one, one = one->next) {
        if (one != gone) continue;
        if (before)
            before->next = one->next;
        else
            object->first = one->next;
        if (object->last == one) object->last = before;
        return;
    }
}

void cd_set_named(cd_json *object, cd_text name, cd_json *one) {
    if (cd_type_of(object) != CD_OBJECT || !one) return;
    cd_json *old = cd_get_named(object, name);
    if (old == one) return;
    one->named = true;
    if (!old) {
        one->name = escaped(name);
        one->next = NULL;
        attach(object, one);
        return;
    }
    /* It takes the old one's place. */
    one->name = old->name;
    one->next = old->next;
    if (object->first == old) object->first = one;
    for (cd_json *before = object->first; before; before = before->next)
        if (before->next == old) before->next = one;
    if (object->last == old) object->last = one;
}

void cd_set(cd_json *object, const char *name, cd_json *one) {
    cd_set_named(object, cd_text_of(name), one);
}

void cd_remove(cd_json *object, const char *name) {
    for (cd_json *one; (one = cd_get(object, name));) detach(object, one);
}

void cd_append(cd_json *list, cd_json *one) {
    if (cd_type_of(list) != CD_LIST || !one) return;
    one->named = false;
    one->next = NULL;
    attach(list, one);
}

/* ---- Writing ---- */

static void quote(cd_buffer *out, cd_text raw) {
    cd_put_byte(out, '"');
    cd_put(out, raw);
    cd_put_byte(out, '"');
}

void cd_put_json(cd_buffer *out, const cd_json *one) {
    if (!one) {
        cd_put_string(out, "null");
    } else if (one->type == CD_TEXT) {
        quote(out, one->raw);
    } else if (one->type == CD_OBJECT || one->type == CD_LIST) {
        cd_put_byte(out, one->type == CD_OBJECT ? '{' : '[');
        for (const cd_json *item = one->first; item; item = item->next) {
            if (item != one->first) cd_put_byte(out, ',');
            if (one->type == CD_OBJECT) {
                quote(out, item->name);
                cd_put_byte(out, ':');
            }
            cd_put_json(out, item);
        }
        cd_put_byte(out, one->type == CD_OBJECT ? '}' : ']');
    } else {
        cd_put(out, one->raw);
    }
}

cd_text cd_to_json(const cd_json *one) {
    cd_buffer out = {0};
    cd_put_json(&out, one);
    return cd_written_text(&out);
}
