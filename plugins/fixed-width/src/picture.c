#include "picture.h"

#include <string.h>

/* Characters of one field. */
#define MOST_CHARACTERS (1u << 20)

typedef struct counts {
    uint32_t nines, letters, edits, before, behind;
    uint32_t scaling_before, scaling_behind;
    bool sign, point;
} counts;

/* How often a sign is there: `9(5)`. NULL: that is no number. */
static const char *repeated(const char *at, uint32_t *times) {
    *times = 1;
    if (at[1] != '(') return at + 1;
    uint64_t number = 0;
    const char *digit = at + 2;
    for (; *digit >= '0' && *digit <= '9' && number <= MOST_CHARACTERS; digit++) number = number * 10 + (uint64_t)(*digit - '0');
    if (*digit != ')' || digit == at + 2 || number == 0 || number > MOST_CHARACTERS) return NULL;
    *times = (uint32_t)number;
    return digit + 1;
}

static const char *count(const char *text, counts *all) {
    while (*text) {
        uint32_t times;
        char sign = *text;
        const char *rest = repeated(text, &times);
        if (!rest) return "behind `(` a number from 1 to 1048576 and `)` are expected";
        switch (sign) {
            case '9':
                all->nines += times;
                if (all->point)
                    all->behind += times;
                else
                    all->before += times;
                break;
            case 'X':
            case 'A': all->letters += times; break;
            case 'S': all->sign = true; break;
            case 'V': all->point = true; break;
            case 'P':
                if (all->nines)
                    all->scaling_behind += times;
                else
                    all->scaling_before += times;
                break;
            case 'N':
            case 'G': return "national characters (N, G) are not supported";
            case 'C':
            case 'D':
                /* CR and DB. */
                if (*rest != (sign == 'C' ? 'R' : 'B')) return "expected CR or DB";
                rest++;
                all->edits += 2;
                break;
            default:
                if (!strchr("Z*+-.,$/0B", sign)) return "this is not known in it";
                all->edits += times;
        }
        if (all->nines > MOST_CHARACTERS || all->letters > MOST_CHARACTERS || all->edits > MOST_CHARACTERS) return "it is too long";
        text = rest;
    }
    return NULL;
}

const char *picture_read(const char *text, unsigned most_digits, field *into) {
    counts all = {0};
    const char *why = count(text, &all);
    if (why) return why;
    into->bytes = all.nines + all.letters + all.edits;
    if (!into->bytes) return "it has no characters";
    if (all.letters || all.edits) {
        /* What is edited for people stays a text. */
        if (all.sign) return "S is for numbers that are not edited";
        return NULL;
    }
    if (all.nines > most_digits || all.scaling_before + all.scaling_behind > most_digits) return "a number has up to 38 digits";
    into->numeric = true;
    into->is_signed = all.sign;
    into->digits = all.nines;
    into->scale = (int)all.behind;
    if (all.scaling_before) into->scale = (int)(all.scaling_before + all.nines);
    if (all.scaling_behind) into->scale = -(int)all.scaling_behind;
    return NULL;
}
