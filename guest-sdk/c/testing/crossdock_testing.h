/*
 * Tests without a sandbox: drives a plugin as the host does, with answers, tables and a clock of your choice. Everything that
 * a driver gives lives until `cd_test_start` is called again.
 */
#ifndef CROSSDOCK_TESTING_H
#define CROSSDOCK_TESTING_H

#include "../crossdock.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Runs tests: `int main(void) { CD_RUN(my_test); return cd_test_end(); }` */
#define CD_RUN(test) (cd_test_start(#test), test(), cd_test_passed())
/* Says what was expected, and ends the program. */
#define CD_CHECK(condition) ((condition) ? (void)0 : cd_test_failed(__FILE__, __LINE__, "%s", #condition))
#define CD_CHECK_TEXT(text, expected) cd_test_text(__FILE__, __LINE__, (text), (expected))
#define CD_CHECK_INT(number, expected) cd_test_int(__FILE__, __LINE__, (number), (expected))
/* A fault of this kind whose message has these words. */
#define CD_CHECK_FAULT(fault, kind, words) cd_test_fault(__FILE__, __LINE__, (fault), (kind), (words))

void cd_test_start(const char *name);
void cd_test_passed(void);
int cd_test_end(void);
void cd_test_failed(const char *file, int line, const char *format, ...) CD_PRINTF(3, 4);
void cd_test_text(const char *file, int line, cd_text text, const char *expected);
void cd_test_int(const char *file, int line, long long number, long long expected);
void cd_test_fault(const char *file, int line, const cd_fault *fault, cd_kind kind, const char *words);

/* ---- The host ---- */

/* Who answers requests: fills in status and body, or gives a fault as if nothing had answered. */
void cd_test_on_http(cd_fault *(*answer)(const cd_request *request, cd_response *response));
/* The requests so far. */
size_t cd_test_requests(void);
const cd_request *cd_test_request(size_t at);
/* What the clock says. */
void cd_test_set_now(uint64_t ms);
/* The value of a table's entry; none when there is none. */
cd_text cd_test_table(const char *table, const char *key);
void cd_test_set_table(const char *table, const char *key, const char *value);
/* Everything that was logged, a line each. */
cd_text cd_test_log(void);

/* ---- Drivers ---- */

/* A record that goes in. */
typedef struct cd_input {
    const char *key, *payload;
    cd_op op;
    cd_form form;
} cd_input;

/* What came out. */
typedef struct cd_tested {
    cd_fault *fault; /* the call failed */
    cd_record *records;
    size_t count;
    cd_fault **rejected; /* by position in the input; NULL: it was taken */
    cd_json *filtered;   /* counts by reason */
} cd_tested;

cd_fault *cd_test_open_transformer(const cd_transformer *stage, const char *config, const cd_text *snapshot);
cd_tested cd_test_apply(const cd_transformer *stage, const char *stream, const cd_input *inputs, size_t count);
/* Opens it and gives it one batch. */
cd_tested cd_test_transform(const cd_transformer *stage, const char *config, const char *stream, const cd_input *inputs, size_t count);

/* What one `read` gave. */
typedef struct cd_tested_page {
    cd_fault *fault;
    cd_record *records;
    size_t count;
    cd_text *unreadable;
    cd_fault **why;
    size_t unreadable_count;
    bool end, idle;
} cd_tested_page;

cd_fault *cd_test_open_source(const cd_source *stage, const char *config, const cd_text *snapshot);
cd_tested_page cd_test_read(const cd_source *stage, uint32_t records);
/* Reads all, a record at a time, with a new life from its snapshot behind each, and in one go: both have to be the same. */
cd_tested_page cd_test_read_all(const cd_source *stage, const char *config);

cd_fault *cd_test_open_sink(const cd_sink *stage, const char *config, const cd_text *snapshot);
cd_tested cd_test_write(const cd_sink *stage, const char *stream, const cd_input *inputs, size_t count);

#ifdef __cplusplus
}
#endif
#endif
