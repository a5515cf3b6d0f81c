/* Memory of one call: an arena, which the next call uses again. And texts in it. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The smallest block, and the largest one that is kept between calls. */
#define BLOCK ((size_t)64 << 10)
#define KEPT ((size_t)8 << 20)
#define ALIGN 16

typedef struct block {
    struct block *before;
    size_t size, used;
} block;
#define HEAD ((sizeof(block) + ALIGN - 1) / ALIGN * ALIGN)

static block *blocks;
/* How large the next block is at least: what the last call has needed. */
static size_t wanted = BLOCK;

_Noreturn void crossdock_out_of_memory(void) {
    __builtin_trap();
}

static char *start_of(block *one) {
    return (char *)one + HEAD;
}

static size_t rounded(size_t bytes) {
    if (bytes > SIZE_MAX / 2) crossdock_out_of_memory();
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

void *cd_alloc(size_t bytes) {
    bytes = rounded(bytes);
    if (!blocks || blocks->size - blocks->used < bytes) {
        size_t size = bytes > wanted ? bytes : wanted;
        block *fresh = malloc(HEAD + size);
        if (!fresh) crossdock_out_of_memory();
        *fresh = (block){blocks, size, 0};
        blocks = fresh;
    }
    void *place = start_of(blocks) + blocks->used;
    blocks->used += bytes;
    return place;
}

void *cd_realloc(void *old, size_t old_size, size_t new_size) {
    old_size = rounded(old_size);
    if (old && blocks && (char *)old + old_size == start_of(blocks) + blocks->used) {
        size_t at = blocks->used - old_size;
        size_t size = rounded(new_size);
        if (blocks->size - at >= size) {
            blocks->used = at + size;
            return old;
        }
    }
    if (old && rounded(new_size) <= old_size) return old;
    void *fresh = cd_alloc(new_size);
    if (old && old_size) memcpy(fresh, old, old_size);
    return fresh;
}

size_t cd_arena_size(void) {
    size_t size = 0;
    for (block *one = blocks; one; one = one->before) size += one->size;
    return size;
}

void cd_reset(void) {
    if (!blocks) return;
    if (!blocks->before && blocks->size <= KEPT) {
        blocks->used = 0;
        return;
    }
    /* One block instead of several, which the next call of this size fits into. */
    size_t used = 0;
    while (blocks) {
        block *before = blocks->before;
        used += blocks->used;
        free(blocks);
        blocks = before;
    }
    wanted = BLOCK;
    while (wanted < used && wanted < KEPT) wanted *= 2;
}

void *cd_push(cd_list *list, size_t width) {
    if (list->room - list->len < width) {
        size_t room = list->room ? list->room * 2 : width * 16;
        list->ptr = cd_realloc(list->ptr, list->room, room);
        list->room = room;
    }
    void *place = list->ptr + list->len;
    memset(place, 0, width);
    list->len += width;
    return place;
}

cd_text cd_text_of(const char *string) {
    return (cd_text){string, string ? strlen(string) : 0};
}

cd_text cd_copy(cd_text text) {
    if (!text.ptr) return text;
    char *copy = cd_alloc(text.len + 1);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    return (cd_text){copy, text.len};
}

const char *cd_string(cd_text text) {
    return text.ptr ? cd_copy(text).ptr : "";
}

bool cd_equal(cd_text a, cd_text b) {
    return a.len == b.len && (!a.len || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool cd_is(cd_text text, const char *string) {
    return cd_equal(text, cd_text_of(string));
}

bool cd_starts_with(cd_text text, const char *start) {
    size_t len = strlen(start);
    return text.len >= len && (!len || memcmp(text.ptr, start, len) == 0);
}

static cd_text formatted(const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, arguments);
    if (len < 0) len = 0;
    char *text = cd_alloc((size_t)len + 1);
    text[0] = 0;
    vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return (cd_text){text, (size_t)len};
}

cd_text cd_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    cd_text text = formatted(format, arguments);
    va_end(arguments);
    return text;
}

void cd_keep(cd_text *place, cd_text text) {
    char *copy = NULL;
    if (text.ptr) {
        copy = malloc(text.len + 1);
        if (!copy) crossdock_out_of_memory();
        memcpy(copy, text.ptr, text.len);
        copy[text.len] = 0;
    }
    free((void *)place->ptr);
    *place = (cd_text){copy, text.len};
}

/* ---- Buffers ---- */

static char *room_for(cd_buffer *buffer, size_t bytes) {
    if (buffer->room - buffer->len < bytes) {
        size_t room = buffer->room ? buffer->room * 2 : 256;
        while (room - buffer->len < bytes) {
            if (room > SIZE_MAX / 2) crossdock_out_of_memory();
            room *= 2;
        }
        buffer->ptr = cd_realloc(buffer->ptr, buffer->room, room);
        buffer->room = room;
    }
    return buffer->ptr + buffer->len;
}

void cd_put(cd_buffer *buffer, cd_text text) {
    if (!text.len) return;
    memcpy(room_for(buffer, text.len), text.ptr, text.len);
    buffer->len += text.len;
}

void cd_put_string(cd_buffer *buffer, const char *string) {
    cd_put(buffer, cd_text_of(string));
}

void cd_put_byte(cd_buffer *buffer, char byte) {
    *room_for(buffer, 1) = byte;
    buffer->len++;
}

void cd_put_integer(cd_buffer *buffer, int64_t number) {
    char digits[24];
    char *at = digits + sizeof digits;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0) *--at = '-';
    cd_put(buffer, (cd_text){at, (size_t)(digits + sizeof digits - at)});
}

cd_text cd_written_text(const cd_buffer *buffer) {
    return (cd_text){buffer->ptr ? buffer->ptr : "", buffer->len};
}

/* ---- Faults ---- */

cd_fault *cd_fault_of(cd_kind kind, cd_text message) {
    cd_fault *fault = cd_alloc(sizeof *fault);
    *fault = (cd_fault){.kind = kind, .message = message};
    return fault;
}

#define FAULT(kind)                                                  \
    va_list arguments;                                               \
    va_start(arguments, format);                                     \
    cd_fault *fault = cd_fault_of(kind, formatted(format, arguments)); \
    va_end(arguments);                                               \
    return fault;

cd_fault *cd_transient(const char *format, ...) { FAULT(CD_TRANSIENT) }
cd_fault *cd_permanent(const char *format, ...) { FAULT(CD_PERMANENT) }
cd_fault *cd_config_fault(const char *format, ...) { FAULT(CD_CONFIG) }

cd_fault *cd_at(cd_fault *fault, cd_text location) {
    fault->location = location;
    return fault;
}

cd_fault *cd_at_field(cd_fault *fault, const char *pointer, const char *advice) {
    fault->field = cd_copy(cd_text_of(pointer));
    fault->advice = cd_copy(cd_text_of(advice));
    return fault;
}

cd_fault *cd_after(cd_fault *fault, uint64_t ms) {
    fault->waits = true;
    fault->retry_after_ms = ms;
    return fault;
}

void cd_log(cd_level level, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    cd_log_text(level, formatted(format, arguments));
    va_end(arguments);
}
