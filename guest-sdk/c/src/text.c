/* UTF-8, and the letters of Latin, Greek and Cyrillic. */
#include "internal.h"

size_t cd_first_char(const char *text, size_t len, uint32_t *character) {
    const unsigned char *at = (const unsigned char *)text;
    *character = at[0];
    if (at[0] < 0x80) return 1;
    size_t size = at[0] < 0xC2 ? 0 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : at[0] < 0xF5 ? 4 : 0;
    if (!size || size > len) return 0;
    uint32_t value = at[0] & (0x7Fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xC0) != 0x80) return 0;
        value = value << 6 | (at[i] & 0x3Fu);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (value < least[size] || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) return 0;
    *character = value;
    return size;
}

size_t cd_utf8_valid(cd_text text) {
    size_t at = 0;
    while (at < text.len) {
        uint32_t ignored;
        size_t size = cd_first_char(text.ptr + at, text.len - at, &ignored);
        if (!size) break;
        at += size;
    }
    return at;
}

void cd_put_char(cd_buffer *buffer, uint32_t c) {
    char bytes[4];
    size_t len;
    if (c < 0x80) {
        bytes[0] = (char)c;
        len = 1;
    } else if (c < 0x800) {
        bytes[0] = (char)(0xC0 | c >> 6);
        bytes[1] = (char)(0x80 | (c & 0x3F));
        len = 2;
    } else if (c < 0x10000) {
        bytes[0] = (char)(0xE0 | c >> 12);
        bytes[1] = (char)(0x80 | (c >> 6 & 0x3F));
        bytes[2] = (char)(0x80 | (c & 0x3F));
        len = 3;
    } else {
        bytes[0] = (char)(0xF0 | c >> 18);
        bytes[1] = (char)(0x80 | (c >> 12 & 0x3F));
        bytes[2] = (char)(0x80 | (c >> 6 & 0x3F));
        bytes[3] = (char)(0x80 | (c & 0x3F));
        len = 4;
    }
    cd_put(buffer, (cd_text){bytes, len});
}

/* Small letters `from..=to` are `to capital` by this difference; of pairs, the small one is the odd or even of two. */
typedef struct letters {
    uint16_t from, to;
    enum { BY, ODD, EVEN } how;
    int16_t difference;
} letters;

static const letters LETTERS[] = {
    {'a', 'z', BY, -32},
    {0xB5, 0xB5, BY, 0x39C - 0xB5},
    {0xE0, 0xF6, BY, -32},
    {0xF8, 0xFE, BY, -32},
    {0xFF, 0xFF, BY, 0x178 - 0xFF},
    {0x100, 0x12F, ODD, 0},
    {0x131, 0x131, BY, 'I' - 0x131},
    {0x132, 0x137, ODD, 0},
    {0x139, 0x148, EVEN, 0},
    {0x14A, 0x177, ODD, 0},
    {0x179, 0x17E, EVEN, 0},
    {0x17F, 0x17F, BY, 'S' - 0x17F},
    {0x1CD, 0x1DC, EVEN, 0},
    {0x1DE, 0x1EF, ODD, 0},
    {0x1F8, 0x21F, ODD, 0},
    {0x222, 0x233, ODD, 0},
    {0x3AC, 0x3AC, BY, -38},
    {0x3AD, 0x3AF, BY, -37},
    {0x3B1, 0x3C1, BY, -32},
    {0x3C2, 0x3C2, BY, -31},
    {0x3C3, 0x3CB, BY, -32},
    {0x3CC, 0x3CC, BY, -64},
    {0x3CD, 0x3CE, BY, -63},
    {0x430, 0x44F, BY, -32},
    {0x450, 0x45F, BY, -80},
    {0x460, 0x481, ODD, 0},
    {0x48A, 0x4BF, ODD, 0},
    {0x4D0, 0x52F, ODD, 0},
    {0x1E00, 0x1E95, ODD, 0},
    {0x1EA0, 0x1EFF, ODD, 0},
};
#define COUNT (sizeof LETTERS / sizeof *LETTERS)

static uint32_t capital(uint32_t c) {
    for (size_t i = 0; i < COUNT; i++) {
        letters row = LETTERS[i];
        if (c < row.from || c > row.to) continue;
        if (row.how == BY) return c + (uint32_t)(int32_t)row.difference;
        return c % 2 == (row.how == ODD) ? c - 1 : c;
    }
    return c;
}

static uint32_t small(uint32_t c) {
    /* These have two small ones, or one that is no letter of its own. */
    if (c == 0x39C) return 0x3BC;
    if (c == 0x3A3) return 0x3C3;
    if (c == 0x1E9E) return 0xDF;
    for (size_t i = 0; i < COUNT; i++) {
        letters row = LETTERS[i];
        if (row.how == BY) {
            uint32_t other = c - (uint32_t)(int32_t)row.difference;
            if (other >= row.from && other <= row.to && c != other) return other;
        } else if (c >= row.from && c <= row.to) {
            return c % 2 == (row.how == ODD) ? c : c + 1;
        }
    }
    return c;
}

static cd_text changed(cd_text text, bool up) {
    cd_buffer out = {0};
    for (size_t at = 0; at < text.len;) {
        uint32_t c;
        size_t size = cd_first_char(text.ptr + at, text.len - at, &c);
        if (!size) {
            cd_put_byte(&out, text.ptr[at++]);
            continue;
        }
        at += size;
        if (up && c == 0xDF)
            cd_put_string(&out, "SS");
        else
            cd_put_char(&out, up ? capital(c) : small(c));
    }
    return cd_written_text(&out);
}

cd_text cd_upper(cd_text text) {
    return changed(text, true);
}

cd_text cd_lower(cd_text text) {
    return changed(text, false);
}
