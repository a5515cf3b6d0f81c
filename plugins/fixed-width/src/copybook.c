#include "copybook.h"

#include <stdlib.h>
#include <string.h>

#include "picture.h"

/* A record of more is a mistake in an OCCURS. */
#define MOST_BYTES ((uint64_t)16 << 20)
#define MOST_FIELDS 10000
#define MOST_DIGITS 38
/* Columns of a card: the sequence number, the indicator, the text, the identification. */
#define INDICATOR 6
#define TEXT_END 72
#define CARD 80

typedef struct reader {
    const char *at, *end;
    const char *file;
    int line;
    /* The word that was read last. */
    char word[256];
    bool literal;
    bool stops; /* a period follows it */
    cd_fault *fault;
} reader;

static void *kept(size_t bytes) {
    void *place = calloc(1, bytes);
    if (!place) abort();
    return place;
}

static const char *kept_string(const char *text) {
    size_t len = strlen(text) + 1;
    char *copy = kept(len);
    memcpy(copy, text, len);
    return copy;
}

static cd_fault *at_line(const reader *in, int line, cd_fault *fault) {
    fault->message = cd_format("%s:%d: %.*s", in->file, line, CD_ARG(fault->message));
    return cd_at_field(fault, "/copybook", "correct the copybook");
}

#define WRONG(line, ...) at_line(in, (line), cd_config_fault(__VA_ARGS__))

/* ---- Words ---- */

/* The text of a line of a card, or of a free line: without number, comment and identification. */
static cd_text code_of(cd_text line) {
    while (line.len && (line.ptr[line.len - 1] == '\r' || line.ptr[line.len - 1] == ' ')) line.len--;
    size_t digits = 0, blanks = 0;
    for (size_t i = 0; i < INDICATOR && i < line.len; i++) {
        digits += line.ptr[i] >= '0' && line.ptr[i] <= '9';
        blanks += line.ptr[i] == ' ';
    }
    bool is_card = line.len > INDICATOR && (digits == INDICATOR || blanks == INDICATOR);
    if (line.len > INDICATOR && (line.ptr[INDICATOR] == '*' || line.ptr[INDICATOR] == '/')) return (cd_text){line.ptr, 0};
    if (is_card && strchr(" -dD", line.ptr[INDICATOR])) {
        /* A line that is longer is no card. */
        if (line.len > TEXT_END && line.len <= CARD) line.len = TEXT_END;
        line.ptr += INDICATOR + 1;
        line.len -= INDICATOR + 1;
    }
    return line;
}

/* A copy of the copybook in which everything but code is blank, so that lines stay what they are. */
static cd_text cleaned(cd_text text) {
    cd_buffer out = {0};
    for (size_t at = 0; at < text.len;) {
        const char *end = memchr(text.ptr + at, '\n', text.len - at);
        size_t len = end ? (size_t)(end - text.ptr) - at : text.len - at;
        cd_text code = code_of((cd_text){text.ptr + at, len});
        size_t plain = code.len;
        for (size_t i = 0; i + 1 < code.len; i++)
            if (code.ptr[i] == '*' && code.ptr[i + 1] == '>') {
                plain = i;
                break;
            }
        cd_put(&out, (cd_text){code.ptr, plain});
        cd_put_byte(&out, '\n');
        at += len + 1;
    }
    return cd_written_text(&out);
}

static bool is_space(char c) {
    return (unsigned char)c <= ' ' || c == ',' || c == ';';
}

/* Reads a word. false: there is none, or the statement has ended with the one before. */
static bool next_word(reader *in) {
    if (in->stops) return false;
    while (in->at < in->end && is_space(*in->at)) {
        if (*in->at == '\n') in->line++;
        in->at++;
    }
    if (in->at == in->end) return false;
    size_t len = 0;
    in->literal = *in->at == '\'' || *in->at == '"';
    if (in->literal) {
        char quote = *in->at++;
        while (in->at < in->end && *in->at != quote && *in->at != '\n') in->at++;
        if (in->at < in->end && *in->at == quote) in->at++;
    } else {
        /* A comma or period in a picture is followed by more of it. */
        while (in->at < in->end) {
            bool last = in->at + 1 == in->end || is_space(in->at[1]);
            if ((unsigned char)*in->at <= ' ' || *in->at == ';' || ((*in->at == '.' || *in->at == ',') && last)) break;
            char c = *in->at++;
            if (len + 1 < sizeof in->word) in->word[len++] = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
        }
    }
    in->word[len] = 0;
    if (in->at < in->end && *in->at == '.') {
        in->at++;
        in->stops = true;
    }
    return len > 0 || in->literal;
}

static bool is(const reader *in, const char *word) {
    return !in->literal && strcmp(in->word, word) == 0;
}

static bool is_one_of(const reader *in, const char *const *words) {
    for (; *words; words++)
        if (is(in, *words)) return true;
    return false;
}

static bool number_of(const char *word, uint32_t most, uint32_t *out) {
    uint64_t number = 0;
    if (!*word) return false;
    for (; *word; word++) {
        if (*word < '0' || *word > '9') return false;
        number = number * 10 + (uint64_t)(*word - '0');
        if (number > most) return false;
    }
    *out = (uint32_t)number;
    return true;
}

/* ---- Clauses ---- */

/* A word that is kept for the next clause. */
typedef struct clauses {
    reader *in;
    field *of;
    bool again;
} clauses;

static bool next(clauses *all) {
    if (all->again) {
        all->again = false;
        return true;
    }
    return next_word(all->in);
}

/* Skips a word that may be there. */
static void may(clauses *all, const char *word) {
    if (next(all) && !is(all->in, word)) all->again = true;
}

static cd_fault *picture(clauses *all) {
    reader *in = all->in;
    may(all, "IS");
    if (!next(all)) return WRONG(in->line, "PIC without a picture");
    const char *why = picture_read(in->word, MOST_DIGITS, all->of);
    return why ? WRONG(in->line, "PIC %s: %s", in->word, why) : NULL;
}

/* Skips literals and names up to the next clause: they say nothing about the data. */
static void skip_names(clauses *all) {
    static const char *const starts[] = {"PIC",    "PICTURE", "USAGE",  "OCCURS",  "SIGN",           "REDEFINES", "COMP",
                                         "COMP-1", "COMP-2",  "COMP-3", "COMP-4",  "COMP-5",         "BINARY",    "DISPLAY",
                                         "BLANK",  "SYNC",    "JUST",   "LEADING", "PACKED-DECIMAL", "VALUE",     NULL};
    while (next(all))
        if (is_one_of(all->in, starts)) {
            all->again = true;
            return;
        }
}

static cd_fault *occurs(clauses *all) {
    reader *in = all->in;
    field *of = all->of;
    if (!next(all) || !number_of(in->word, (uint32_t)MOST_BYTES, &of->most)) return WRONG(in->line, "OCCURS without a number");
    of->table = true;
    of->least = of->most;
    while (next(all)) {
        if (is(in, "TO")) {
            if (!next(all) || !number_of(in->word, (uint32_t)MOST_BYTES, &of->most) || of->most < of->least)
                return WRONG(in->line, "OCCURS %u TO without a larger number", (unsigned)of->least);
        } else if (is(in, "DEPENDING")) {
            may(all, "ON");
            if (!next(all)) return WRONG(in->line, "DEPENDING ON without a field");
            of->depending = kept_string(in->word);
        } else if (is(in, "INDEXED") || is(in, "ASCENDING") || is(in, "DESCENDING")) {
            skip_names(all);
        } else if (!is(in, "TIMES")) {
            all->again = true;
            break;
        }
    }
    if (of->depending && of->least == of->most) of->least = 0;
    if (of->most == 0) return WRONG(in->line, "OCCURS 0 is no table");
    return NULL;
}

static bool usage_of(const reader *in, usage *usage) {
    static const struct {
        const char *word;
        enum usage usage;
    } words[] = {
        {"DISPLAY", DISPLAY}, {"BINARY", BINARY}, {"COMP", BINARY}, {"COMPUTATIONAL", BINARY}, {"COMP-4", BINARY},
        {"COMPUTATIONAL-4", BINARY}, {"COMP-5", NATIVE}, {"COMPUTATIONAL-5", NATIVE}, {"COMP-3", PACKED},
        {"COMPUTATIONAL-3", PACKED}, {"PACKED-DECIMAL", PACKED}, {"COMP-1", FLOAT}, {"COMPUTATIONAL-1", FLOAT},
        {"COMP-2", DOUBLE}, {"COMPUTATIONAL-2", DOUBLE},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (is(in, words[i].word)) {
            *usage = words[i].usage;
            return true;
        }
    return false;
}

static cd_fault *clause(clauses *all) {
    reader *in = all->in;
    field *of = all->of;
    static const char *const nothing[] = {"USAGE", "IS", "SIGN", "CHARACTER", "EXTERNAL", "GLOBAL", "JUST", "JUSTIFIED", "RIGHT", "TRAILING", NULL};
    if (is(in, "PIC") || is(in, "PICTURE")) return picture(all);
    if (is(in, "OCCURS")) return occurs(all);
    if (usage_of(in, &of->usage)) return NULL;
    if (is(in, "REDEFINES")) {
        if (!next(all)) return WRONG(in->line, "REDEFINES without a field");
        of->redefines = kept_string(in->word);
    } else if (is(in, "LEADING")) {
        of->leading = true;
    } else if (is(in, "SEPARATE")) {
        of->separate = true;
    } else if (is(in, "BLANK")) {
        may(all, "WHEN");
        next(all);
    } else if (is(in, "VALUE") || is(in, "VALUES")) {
        skip_names(all);
    } else if (is(in, "SYNC") || is(in, "SYNCHRONIZED")) {
        return WRONG(in->line, "SYNCHRONIZED is not supported: write the bytes that are left out as FILLER");
    } else if (!is_one_of(in, nothing)) {
        return WRONG(in->line, "`%s` is not known here", in->literal ? "a literal" : in->word);
    }
    return NULL;
}

/* ---- Statements ---- */

static cd_text name_shown(const char *name, naming naming) {
    cd_buffer text = {0}, quoted = {0};
    bool up = false;
    for (const char *c = name; *c; c++) {
        char small = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
        if (naming == AS_WRITTEN)
            cd_put_byte(&text, *c);
        else if (*c == '-' && naming == CAMEL)
            up = true;
        else
            cd_put_byte(&text, *c == '-' ? '_' : naming == CAMEL && up ? *c : small);
        if (*c != '-') up = false;
    }
    cd_put_quoted(&quoted, cd_written_text(&text));
    cd_put_byte(&quoted, ':');
    cd_text shown = {0};
    cd_keep(&shown, cd_written_text(&quoted));
    return shown;
}

static void append(field *parent, field *one) {
    one->parent = parent;
    if (parent->last)
        parent->last->next = one;
    else
        parent->first = one;
    parent->last = one;
}

/* The view that a field is: of the field of that name before it. */
static cd_fault *link_view(reader *in, field *parent, field *one) {
    for (field *other = parent->first; other && other != one; other = other->next) {
        if (strcmp(other->name, one->redefines) != 0) continue;
        field *original = other->original ? other->original : other;
        one->original = original;
        field **place = &original->views;
        while (*place) place = &(*place)->next_view;
        *place = one;
        return NULL;
    }
    return WRONG(one->line, "%s REDEFINES %s, which is not before it in its group", one->name, one->redefines);
}

/* One statement, up to its period. `*last`: the field before. */
static cd_fault *statement(reader *in, naming naming, field *root, field **last) {
    uint32_t level;
    if (!number_of(in->word, 88, &level) || level == 0) {
        if (is(in, "COPY")) return WRONG(in->line, "COPY is not followed: put the other copybook in its place");
        return WRONG(in->line, "expected a level number, found `%s`", in->word);
    }
    if (level == 66 || level == 88) {
        while (next_word(in)) {}
        return NULL;
    }
    field *one = kept(sizeof *one);
    clauses all = {in, one, false};
    one->level = level == 77 ? 1 : (int)level;
    one->line = in->line;
    if (one->level > 49) return WRONG(in->line, "level %u is not known", (unsigned)level);
    static const char *const no_names[] = {"PIC", "PICTURE", "REDEFINES", "OCCURS", "USAGE", "COMP", "COMP-3", "VALUE", NULL};
    bool named = next(&all);
    if (named && is_one_of(in, no_names)) {
        all.again = true;
        named = false;
    }
    one->name = named ? kept_string(in->word) : "FILLER";
    one->filler = strcmp(one->name, "FILLER") == 0;
    one->shown = name_shown(one->name, naming);
    while (next(&all)) CD_TRY(clause(&all));
    field *parent = *last;
    while (parent != root && parent->level >= one->level) parent = parent->parent;
    if (parent == root && root->first && (one->level == 1) != (root->first->level == 1))
        return WRONG(one->line, "%s has level %d, which is in no record: either all records begin at level 01 or there is one without it", one->name, one->level);
    if (parent->bytes) return WRONG(one->line, "%s has a picture and, in line %d, a field in it", parent->name, one->line);
    append(parent, one);
    if (one->redefines && parent != root) CD_TRY(link_view(in, parent, one));
    *last = one;
    return NULL;
}

/* ---- Sizes ---- */

static uint32_t size_by_usage(const field *one) {
    switch (one->usage) {
        case BINARY:
        case NATIVE: return one->digits <= 4 ? 2 : one->digits <= 9 ? 4 : 8;
        case PACKED: return one->digits / 2 + 1;
        case FLOAT: return 4;
        case DOUBLE: return 8;
        default: return one->bytes + (one->separate ? 1 : 0);
    }
}

static cd_fault *elementary(reader *in, field *one) {
    bool is_float = one->usage == FLOAT || one->usage == DOUBLE;
    if (is_float) {
        if (one->bytes) return WRONG(one->line, "%s: COMP-1 and COMP-2 have no picture", one->name);
        one->numeric = true;
    } else if (!one->bytes) {
        return WRONG(one->line, "%s has neither a picture nor fields in it", one->name);
    } else if (!one->numeric && one->usage != DISPLAY) {
        return WRONG(one->line, "%s is no number, so it is no COMP", one->name);
    } else if ((one->usage == BINARY || one->usage == NATIVE) && one->digits > 18) {
        return WRONG(one->line, "%s has more than 18 digits, which no COMP has", one->name);
    }
    one->size = size_by_usage(one);
    return NULL;
}

/* Names of members of one object: those of a FILLER's fields as well. */
static field *same_name(field *group, const field *one) {
    for (field *other = group->first; other && other != one; other = other->next) {
        if (other->filler) {
            field *inner = other->first ? same_name(other, one) : NULL;
            if (inner) return inner;
        } else if (strcmp(other->name, one->name) == 0) {
            return other;
        }
    }
    return NULL;
}

static cd_fault *measure(reader *in, field *one, uint64_t offset) {
    uint64_t size = 0;
    one->offset = (uint32_t)offset;
    if (one->usage == PACKED || one->usage == BINARY || one->usage == NATIVE)
        /* A group's usage is that of its fields. */
        for (field *child = one->first; child; child = child->next)
            if (child->usage == DISPLAY && (child->first || child->numeric)) child->usage = one->usage;
    if (one->first) {
        for (field *child = one->first; child; child = child->next) {
            field *same = child->filler ? NULL : same_name(one, child);
            if (same) return WRONG(child->line, "%s is there twice in %s, first in line %d", child->name, one->name, same->line);
            CD_TRY(measure(in, child, child->original ? child->original->offset : offset + size));
            if (child->original) {
                uint64_t end = (uint64_t)child->offset + child->size - offset;
                if (end > size) size = end;
            } else {
                size += child->size;
            }
        }
    } else {
        CD_TRY(elementary(in, one));
        size = one->size;
    }
    one->size_of_one = size > MOST_BYTES ? 0 : (uint32_t)size;
    if (one->table) size *= one->most;
    if (offset + size > MOST_BYTES) return WRONG(one->line, "%s makes the record longer than 16 MiB", one->name);
    one->size = (uint32_t)size;
    return NULL;
}

static cd_fault *link_counters(reader *in, field *record, field *one) {
    for (field *child = one->first; child; child = child->next) CD_TRY(link_counters(in, record, child));
    if (!one->depending) return NULL;
    field *counter = copybook_find(record, one->depending);
    if (!counter || counter->offset >= one->offset || counter->first || !counter->numeric || counter->scale != 0 || is_in_table(counter))
        return WRONG(one->line, "%s DEPENDING ON %s: that is no whole number before it", one->name, one->depending);
    one->counter = counter;
    counter->watched = true;
    return NULL;
}

cd_fault *copybook_parse(cd_text text, const char *file, naming naming, copybook *out) {
    cd_text code = cleaned(text);
    reader reading = {.at = code.ptr, .end = code.ptr + code.len, .file = file, .line = 1};
    reader *in = &reading;
    field *root = kept(sizeof *root), *last = root;
    root->name = "";
    *out = (copybook){0};
    for (;;) {
        in->stops = false;
        if (!next_word(in)) {
            if (!in->stops) break;
            continue; /* a period alone */
        }
        if (++out->fields > MOST_FIELDS) return WRONG(in->line, "more than %d fields", MOST_FIELDS);
        CD_TRY(statement(in, naming, root, &last));
        if (!in->stops) {
            if (in->at == in->end) break; /* the last period may be left out */
            return WRONG(in->line, "expected `.`");
        }
    }
    if (!root->first) return WRONG(in->line, "there is no field in it");
    if (root->first->level != 1) {
        /* Fields without a record around them are one. */
        field *record = kept(sizeof *record);
        *record = (field){.level = 1, .line = 1, .name = "RECORD", .first = root->first, .last = root->last, .shown = name_shown("RECORD", naming)};
        for (field *one = record->first; one; one = one->next) one->parent = record;
        root->first = root->last = record;
    }
    for (field *record = root->first; record; record = record->next) {
        record->parent = NULL;
        if (record->table) return WRONG(record->line, "a record at level 01 has no OCCURS");
        CD_TRY(measure(in, record, 0));
        CD_TRY(link_counters(in, record, record));
    }
    out->first = root->first;
    return NULL;
}

/* ---- Looking ---- */

static field *find_named(field *group, const char *name, size_t len) {
    for (field *one = group->first; one; one = one->next) {
        if (strlen(one->name) == len && memcmp(one->name, name, len) == 0) return one;
        field *inner = find_named(one, name, len);
        if (inner) return inner;
    }
    return NULL;
}

field *copybook_find(field *record, const char *name) {
    field *found = record;
    while (found && *name) {
        size_t len = strcspn(name, ".");
        found = find_named(found, name, len);
        name += len + (name[len] == '.');
    }
    return found == record ? NULL : found;
}

bool is_in_table(const field *one) {
    for (; one; one = one->parent)
        if (one->table) return true;
    return false;
}
