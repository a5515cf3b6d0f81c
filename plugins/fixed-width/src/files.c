#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How much is read at a time, and how much of what is no record its dead letter has. */
#define PIECE ((size_t)256 << 10)
#define SHOWN ((size_t)64 << 10)
#define MARKED 256
#define MOST_FILES 100000

/* ---- Names ---- */

/* `*`, `?` and `[a-z]`. */
static bool matches(const char *pattern, const char *name) {
    for (; *pattern; pattern++, name++) {
        if (*pattern == '*') {
            while (pattern[1] == '*') pattern++;
            for (;; name++) {
                if (matches(pattern + 1, name)) return true;
                if (!*name) return false;
            }
        }
        if (!*name) return false;
        if (*pattern == '[' && strchr(pattern + 1, ']')) {
            bool not = pattern[1] == '!', in = false;
            const char *at = pattern + 1 + not;
            do {
                char last = at[1] == '-' && at[2] != ']' ? at[2] : at[0];
                in = in || (*name >= at[0] && *name <= last);
                at += last == at[0] && at[1] != '-' ? 1 : 3;
            } while (*at && *at != ']');
            if (in == not || !*at) return false;
            pattern = at;
        } else if (*pattern != '?' && *pattern != *name) {
            return false;
        }
    }
    return !*name;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

typedef struct names {
    const char **all;
    size_t count, room;
} names;

static void add(names *to, const char *folder, const char *name) {
    if (to->count == to->room) {
        to->room = to->room ? 2 * to->room : 16;
        to->all = realloc(to->all, to->room * sizeof *to->all);
        if (!to->all) abort();
    }
    cd_text kept = {0};
    cd_keep(&kept, *folder ? cd_format("%s/%s", folder, name) : cd_text_of(name));
    to->all[to->count++] = kept.ptr;
}

static bool is_folder(const char *folder, const char *name) {
    struct stat found;
    const char *path = cd_string(cd_format("%s/%s", folder, name));
    return stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

static cd_fault *at_files(cd_fault *fault, const char *advice) {
    return cd_at_field(fault, "/files", advice);
}

static cd_fault *find_one(const char *pattern, names *to) {
    const char *slash = strrchr(pattern, '/');
    const char *folder = slash ? cd_string((cd_text){pattern, (size_t)(slash - pattern)}) : "";
    const char *name = slash ? slash + 1 : pattern, *shown = *folder ? folder : ".";
    DIR *listing = opendir(shown);
    if (!listing)
        return at_files(cd_config_fault("the folder `%s` cannot be read: %s", shown, strerror(errno)),
                        cd_string(cd_format("grant it: `grants: { files: { read: [%s] } }`", shown)));
    size_t before = to->count;
    for (struct dirent *entry; (entry = readdir(listing)) && to->count < MOST_FILES;) {
        if (entry->d_name[0] == '.' && *name != '.') continue;
        if (matches(name, entry->d_name) && !is_folder(shown, entry->d_name)) add(to, folder, entry->d_name);
    }
    closedir(listing);
    if (to->count == before) return at_files(cd_config_fault("no file matches `%s`", pattern), "correct the pattern");
    if (to->count == MOST_FILES) return at_files(cd_config_fault("more than %d files match", MOST_FILES - 1), "read fewer at a time");
    qsort(to->all + before, to->count - before, sizeof *to->all, by_name);
    /* What an earlier pattern has found already. */
    size_t kept = before;
    for (size_t i = before; i < to->count; i++) {
        bool known = false;
        for (size_t j = 0; j < before && !known; j++) known = strcmp(to->all[j], to->all[i]) == 0;
        if (!known) to->all[kept++] = to->all[i];
    }
    to->count = kept;
    return NULL;
}

cd_fault *files_find(const settings *all, const char ***out, size_t *count) {
    names found = {0};
    for (size_t i = 0; i < all->pattern_count; i++) CD_TRY(find_one(all->patterns[i], &found));
    *out = found.all;
    *count = found.count;
    return NULL;
}

/* ---- Bytes ---- */

static cd_fault *failed(const char *name, const char *what) {
    return cd_at(cd_transient("the file cannot be %s: %s", what, strerror(errno)), cd_text_of(name));
}

cd_fault *input_open(input *in, const char *name, uint64_t offset) {
    input_close(in);
    in->file = open(name, O_RDONLY);
    if (in->file < 0) return failed(name, "opened");
    if (lseek(in->file, (off_t)offset, SEEK_SET) < 0) {
        cd_fault *fault = failed(name, "read");
        input_close(in);
        return fault;
    }
    in->name = name;
    in->offset = offset;
    in->start = in->end = 0;
    in->at_end = false;
    return NULL;
}

void input_close(input *in) {
    if (in->file >= 0) close(in->file);
    in->file = -1;
}

cd_fault *input_fill(input *in, size_t wanted, size_t *there) {
    if (in->end - in->start < wanted && !in->at_end) {
        if (in->start && in->end > in->start) memmove(in->bytes, in->bytes + in->start, in->end - in->start);
        in->end -= in->start;
        in->start = 0;
        size_t room = wanted > PIECE ? wanted : PIECE;
        if (room > in->room) {
            in->bytes = realloc(in->bytes, room);
            if (!in->bytes) abort();
            in->room = room;
        }
    }
    while (in->end - in->start < wanted && !in->at_end) {
        ssize_t got = read(in->file, in->bytes + in->end, in->room - in->end);
        if (got < 0) return failed(in->name, "read");
        in->at_end = got == 0;
        in->end += (size_t)got;
    }
    *there = in->end - in->start;
    return NULL;
}

void input_skip(input *in, size_t bytes) {
    in->start += bytes;
    in->offset += bytes;
}

cd_fault *input_mark(const char *name, uint64_t offset, cd_text *mark) {
    unsigned char bytes[MARKED];
    size_t len = offset < MARKED ? (size_t)offset : MARKED, got = 0;
    int file = open(name, O_RDONLY);
    if (file < 0) return failed(name, "opened");
    bool good = lseek(file, (off_t)(offset - len), SEEK_SET) >= 0;
    while (good && got < len) {
        ssize_t more = read(file, bytes + got, len - got);
        if (more <= 0) break;
        got += (size_t)more;
    }
    close(file);
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < got; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
    *mark = got == len ? cd_format("%08lx%08lx", (unsigned long)(hash >> 32), (unsigned long)(hash & 0xFFFFFFFF)) : CD("shorter");
    return NULL;
}

/* ---- Records ---- */

/* The rest of the file is none. */
static cd_fault *rest(input *in, found *out, cd_fault *why) {
    off_t size = lseek(in->file, 0, SEEK_END);
    off_t back = lseek(in->file, (off_t)(in->offset + (in->end - in->start)), SEEK_SET);
    if (size < 0 || back < 0) return failed(in->name, "read");
    size_t there;
    CD_TRY(input_fill(in, SHOWN, &there));
    out->broken = why;
    out->bytes = in->bytes + in->start;
    out->len = there < SHOWN ? there : SHOWN;
    out->whole = (uint64_t)size > in->offset ? (uint64_t)size - in->offset : there;
    return NULL;
}

/* Line ends and the like that editors and transfers put behind the last record. */
static bool is_padding(const unsigned char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (!memchr("\n\r\x1A\0", bytes[i], 4)) return false;
    return true;
}

static cd_fault *next_fixed(input *in, const settings *all, found *out) {
    size_t there;
    CD_TRY(input_fill(in, all->length, &there));
    const unsigned char *bytes = in->bytes + in->start;
    *out = (found){.bytes = bytes, .len = all->length, .whole = all->length};
    if (there >= all->length) return NULL;
    out->end = is_padding(bytes, there);
    if (!out->end) return rest(in, out, cd_permanent("the file ends within a record: it has %zu of %u bytes", there, (unsigned)all->length));
    return NULL;
}

static cd_fault *next_line(input *in, const settings *all, found *out) {
    size_t there, wanted = PIECE, most = (size_t)all->most_bytes + 2;
    for (;;) {
        CD_TRY(input_fill(in, wanted, &there));
        const unsigned char *bytes = in->bytes + in->start;
        const unsigned char *end = there ? memchr(bytes, all->decoder.set.line_end, there) : NULL;
        size_t len = end ? (size_t)(end - bytes) : there;
        if (!end && !in->at_end && there < most) {
            wanted = there * 2 < most ? there * 2 : most;
            continue;
        }
        *out = (found){.bytes = bytes, .len = len, .whole = len + (end != NULL), .end = !there};
        if (len > all->most_bytes) return rest(in, out, cd_permanent("a line is longer than %u bytes; the rest of the file is not read", (unsigned)all->most_bytes));
        if (out->len && bytes[out->len - 1] == '\r') out->len--;
        return NULL;
    }
}

static cd_fault *next_described(input *in, const settings *all, found *out) {
    size_t there;
    *out = (found){0};
    CD_TRY(input_fill(in, 4, &there));
    out->end = !there;
    if (!there) return NULL;
    if (there < 4) return rest(in, out, cd_permanent("the file ends within the length of a record"));
    const unsigned char *word = in->bytes + in->start;
    uint32_t length = all->framing == RDW_LITTLE ? word[2] | (uint32_t)word[3] << 8 : (uint32_t)word[0] << 8 | word[1];
    uint32_t others = all->framing == RDW_LITTLE ? word[0] | word[1] : word[2] | word[3];
    cd_text shown = cd_format("%02X%02X%02X%02X", word[0], word[1], word[2], word[3]);
    if (all->framing == RDW) length = length < 4 ? 0 : length - 4;
    if (!length || others)
        return rest(in, out, cd_permanent("0x%.*s is no length of a record; the rest of the file is not read", CD_ARG(shown)));
    CD_TRY(input_fill(in, length + 4, &there));
    if (there < length + 4)
        return rest(in, out, cd_permanent("the file ends within a record: it has %zu of %u bytes", there - 4, (unsigned)length));
    *out = (found){.bytes = in->bytes + in->start + 4, .len = length, .whole = (uint64_t)length + 4};
    return NULL;
}

cd_fault *input_next(input *in, const settings *all, found *out) {
    switch (all->framing) {
        case FIXED: return next_fixed(in, all, out);
        case LINES: return next_line(in, all, out);
        default: return next_described(in, all, out);
    }
}
