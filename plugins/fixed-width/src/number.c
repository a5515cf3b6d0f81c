#include "number.h"

#include <math.h>
#include <string.h>

static void add(number *out, unsigned digit) {
    if (out->count < sizeof out->digits) out->digits[out->count++] = (char)('0' + digit);
}

/* A byte that is a digit and a sign: in EBCDIC its zone is the sign; in ASCII these are letters. */
static bool signed_digit(unsigned char byte, bool ebcdic, unsigned *digit, bool *negative) {
    if (ebcdic) {
        unsigned zone = byte >> 4;
        *digit = byte & 0xF;
        *negative = zone == 0xD || zone == 0xB;
        return *digit <= 9 && zone >= 0xA;
    }
    static const char plus[] = "{ABCDEFGHI", minus[] = "}JKLMNOPQR", other[] = "pqrstuvwxy";
    const char *found = NULL;
    *negative = false;
    if (byte >= '0' && byte <= '9') {
        *digit = byte - '0';
        return true;
    }
    if (byte && (found = strchr(plus, byte))) {
        *digit = (unsigned)(found - plus);
        return true;
    }
    *negative = true;
    if (byte && (found = strchr(minus, byte)))
        *digit = (unsigned)(found - minus);
    else if (byte && (found = strchr(other, byte)))
        *digit = (unsigned)(found - other);
    return found != NULL;
}

const char *number_zoned(number *out, const unsigned char *bytes, unsigned digits, bool is_signed, bool leading, bool separate,
                         bool ebcdic) {
    unsigned char zero = ebcdic ? 0xF0 : '0', space = ebcdic ? 0x40 : ' ';
    if (separate) {
        unsigned char sign = leading ? bytes[0] : bytes[digits];
        out->negative = sign == (ebcdic ? 0x60 : '-');
        if (!out->negative && sign != (ebcdic ? 0x4E : '+')) return "a sign, + or -";
        if (leading) bytes++;
    }
    bool over = is_signed && !separate, begun = false;
    for (unsigned i = 0; i < digits; i++) {
        unsigned char byte = bytes[i];
        unsigned digit;
        bool negative;
        if (over && i == (leading ? 0 : digits - 1) && byte != space) {
            if (!signed_digit(byte, ebcdic, &digit, &negative)) return "digits, with a sign in one of them";
            out->negative = negative;
            begun = true;
        } else if (byte >= zero && byte <= zero + 9) {
            digit = byte - zero;
            begun = true;
        } else if (byte == space && !begun) {
            digit = 0; /* blanks before the first digit */
        } else {
            return "digits";
        }
        add(out, digit);
    }
    return NULL;
}

const char *number_packed(number *out, const unsigned char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) {
        unsigned high = bytes[i] >> 4, low = bytes[i] & 0xF;
        if (high > 9) return "packed digits";
        add(out, high);
        if (i + 1 < len) {
            if (low > 9) return "packed digits";
            add(out, low);
        } else {
            if (low < 0xA) return "packed digits with a sign, A to F, in the last half byte";
            out->negative = low == 0xD || low == 0xB;
        }
    }
    return NULL;
}

void number_binary(number *out, const unsigned char *bytes, size_t len, bool is_signed, bool little_endian) {
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) value = value << 8 | bytes[little_endian ? len - 1 - i : i];
    if (is_signed && len && (bytes[little_endian ? len - 1 : 0] & 0x80)) {
        out->negative = true;
        value = 0 - value;
        if (len < 8) value &= ((uint64_t)1 << (8 * len)) - 1;
    }
    char digits[24];
    unsigned count = 0;
    do {
        digits[count++] = (char)(value % 10);
        value /= 10;
    } while (value);
    while (count) add(out, (unsigned)digits[--count]);
}

double number_float(const unsigned char *bytes, size_t len, bool ieee) {
    uint64_t bits = 0;
    for (size_t i = 0; i < len; i++) bits = bits << 8 | bytes[i];
    if (ieee && len == 4) {
        float value;
        uint32_t half = (uint32_t)bits;
        memcpy(&value, &half, sizeof value);
        return value;
    }
    if (ieee) {
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    /* One bit of sign, seven of an exponent of 16, the rest a fraction. */
    int fraction = (int)len * 8 - 8;
    int exponent = (int)(bits >> fraction & 0x7F) - 64;
    double value = ldexp((double)(bits & (((uint64_t)1 << fraction) - 1)), 4 * exponent - fraction);
    return bits >> (fraction + 7) & 1 ? -value : value;
}

void number_put(cd_buffer *out, const number *value, int scale) {
    bool is_zero = true;
    for (unsigned i = 0; i < value->count; i++) is_zero = is_zero && value->digits[i] == '0';
    unsigned behind = scale > 0 ? (unsigned)scale : 0;
    unsigned before = value->count > behind ? value->count - behind : 0, start = 0;
    if (value->negative && !is_zero) cd_put_byte(out, '-');
    while (start < before && value->digits[start] == '0') start++;
    if (start == before) cd_put_byte(out, '0');
    cd_put(out, (cd_text){value->digits + start, before - start});
    if (scale < 0 && !is_zero)
        for (int i = 0; i < -scale; i++) cd_put_byte(out, '0');
    if (!behind) return;
    cd_put_byte(out, '.');
    for (unsigned i = value->count; i < behind; i++) cd_put_byte(out, '0');
    cd_put(out, (cd_text){value->digits + before, value->count - before});
}
