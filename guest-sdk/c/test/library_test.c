/* Tests of the library itself: see the README of a new project for how those of a plugin look. */
#include <stdlib.h>
#include <string.h>

#include "../src/internal.h"
#include "crossdock_testing.h"

/* ---- JSON ---- */

static cd_text again(const char *text) {
    cd_json *value = NULL;
    cd_fault *fault = cd_parse(cd_text_of(text), &value);
    return fault ? fault->message : cd_to_json(value);
}

static void json_keeps_what_was_written(void) {
    static const char *const good[] = {"{\"a\":[1,2.50,-0,1e5,1E-7,12345678901234567890],\"b\":{\"c\":null},\"d\":true}", "\"\\u00e4\\n\\/\"", "[]", "{}", "0"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) CD_CHECK_TEXT(again(good[i]), good[i]);
    CD_CHECK_TEXT(again(" [ 1 , { \"a\" : 2 } ] \n"), "[1,{\"a\":2}]");
}

static void json_is_read_strictly(void) {
    static const char *const wrong[][2] = {
        {"", "no JSON: at its end a value was expected"},
        {"[1,]", "no JSON: at byte 3 a value was expected"},
        {"{\"a\":1,}", "no JSON: at byte 7 the name of a member was expected"},
        {"{a:1}", "no JSON: at byte 1 the name of a member was expected"},
        {"[1 2]", "no JSON: at byte 3 `,` or `]` was expected"},
        {"1 2", "no JSON: at byte 2 the end was expected"},
        {"01", "no JSON: at byte 1 the end was expected"},
        {"1.", "no JSON: at its end a digit behind the point was expected"},
        {"-", "no JSON: at its end a digit was expected"},
        {"1e", "no JSON: at its end a digit of the exponent was expected"},
        {"\"a", "no JSON: at its end the `\"` that ends a text was expected"},
        {"\"\\x\"", "no JSON: at byte 1 a character that can be escaped was expected"},
        {"\"\\u12g4\"", "no JSON: at byte 1 four hexadecimal digits behind `\\u` was expected"},
        {"\"a\nb\"", "no JSON: at byte 2 no control character in a text was expected"},
        {"\"\xC0\xAF\"", "no JSON: at byte 1 UTF-8 was expected"},
        {"\"\xED\xA0\x80\"", "no JSON: at byte 1 UTF-8 was expected"},
        {"nul", "no JSON: at byte 0 a value was expected"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) CD_CHECK_TEXT(again(wrong[i][0]), wrong[i][1]);
    cd_buffer deep = {0};
    for (int i = 0; i < 300; i++) cd_put_byte(&deep, '[');
    cd_put_byte(&deep, 0);
    CD_CHECK_TEXT(again(deep.ptr), "no JSON: at byte 257 no deeper nesting was expected");
}

static void json_is_looked_at_and_changed(void) {
    cd_json *all = NULL;
    CD_CHECK(!cd_parse(CD("{\"a\":\"x\\u0041\\ud83d\\ude00\\ud800\",\"n\":-9223372036854775808,\"big\":9223372036854775808,\"f\":1.5,\"a\\u0062\":1,\"n\":7}"), &all));
    CD_CHECK_TEXT(cd_get_text(all, "a", ""), "xA\xF0\x9F\x98\x80\xEF\xBF\xBD");
    CD_CHECK_INT(cd_get_int(all, "n", 0), 7);
    CD_CHECK_INT(cd_as_int(cd_next(cd_first(all)), 0), INT64_MIN);
    CD_CHECK_INT(cd_get_int(all, "big", -1), -1);
    CD_CHECK_INT(cd_get_int(all, "f", -1), -1);
    CD_CHECK(cd_as_double(cd_get(all, "f"), 0) == 1.5);
    CD_CHECK_INT(cd_get_int(all, "ab", 0), 1);
    CD_CHECK(cd_type_of(cd_get(all, "no")) == CD_MISSING && !cd_get(NULL, "a"));
    cd_remove(all, "n");
    cd_remove(all, "big");
    cd_remove(all, "a");
    cd_set(all, "f", cd_new_double(0.1));
    cd_set(all, "new\"", cd_new_text(CD("\x01\"\\\n\xFF")));
    cd_json *list = cd_new_list();
    cd_append(list, cd_new_bool(false));
    cd_append(list, cd_new_null());
    cd_set(all, "list", list);
    CD_CHECK_TEXT(cd_to_json(all), "{\"f\":0.1,\"a\\u0062\":1,\"new\\\"\":\"\\u0001\\\"\\\\\\n\xEF\xBF\xBD\",\"list\":[false,null]}");
    CD_CHECK_INT(cd_count_of(all), 4);
}

static void json_that_is_damaged_is_survived(void) {
    static const char good[] = "{\"a\\u00e4\":[1,-2.5e+7,\"\\ud83d\\ude00 \xC3\xA4\",{\"b\":null}],\"c\":true}", signs[] = "{}[]\",:\\u0-e.t\xC3";
    uint64_t seed = 3;
    for (int turn = 0; turn < 20000; turn++) {
        char text[sizeof good];
        cd_json *all = NULL;
        memcpy(text, good, sizeof good);
        for (int wrong = turn % 3; wrong >= 0; wrong--) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            text[(seed >> 33) % (sizeof good - 1)] = signs[(seed >> 20) % (sizeof signs - 1)];
        }
        char *exact = malloc(sizeof good - 1);
        memcpy(exact, text, sizeof good - 1);
        if (!cd_parse((cd_text){exact, sizeof good - 1}, &all)) {
            cd_text first = cd_to_json(all);
            CD_CHECK(cd_utf8_valid(first) == first.len);
            for (cd_json *one = cd_first(all); one; one = cd_next(one)) cd_as_text(one, cd_name(one));
            CD_CHECK_TEXT(again(cd_string(first)), cd_string(first));
        }
        free(exact);
    }
}

/* ---- Texts ---- */

static void letters(void) {
    CD_CHECK_TEXT(cd_upper(CD("straße äöüÿ ſ ǆ łžő ελλάς привет ё ạ 椅子 1")), "STRASSE ÄÖÜŸ S ǆ ŁŽŐ ΕΛΛΆΣ ПРИВЕТ Ё Ạ 椅子 1");
    CD_CHECK_TEXT(cd_lower(CD("STRASSE ÄÖÜŸ ŁŽŐ ΕΛΛΆΣ ПРИВЕТ Ё Ạ İ")), "strasse äöüÿ łžő ελλάσ привет ё ạ İ");
    CD_CHECK_INT(cd_utf8_valid(CD("a\xC3\xA4\xC3")), 3);
    CD_CHECK_TEXT(cd_url_encode(CD("a/b ä~")), "a%2Fb%20%C3%A4~");
}

static void memory_is_used_again(void) {
    static cd_text kept;
    cd_reset();
    size_t most = 0;
    for (int call = 0; call < 1000; call++) {
        cd_buffer out = {0};
        for (int i = 0; i < 5000; i++) cd_put_string(&out, "some text");
        cd_keep(&kept, (cd_text){out.ptr, 9});
        cd_reset();
        if (call == 2) most = cd_arena_size();
        if (call > 2) CD_CHECK(cd_arena_size() <= most);
    }
    CD_CHECK_TEXT(kept, "some text");
    /* What was needed once only is given back. */
    cd_alloc((size_t)64 << 20);
    cd_reset();
    CD_CHECK_INT(cd_arena_size(), 0);
}

/* ---- Stages ---- */

static cd_fault *router(const cd_record *record, cd_given *given) {
    cd_json *value;
    CD_TRY(cd_value(record, &value));
    cd_text what = cd_get_text(value, "do", "");
    if (cd_is(what, "pass")) cd_pass(given);
    if (cd_is(what, "twice")) cd_pass(given), cd_pass(given);
    if (cd_is(what, "filter")) cd_filter(given, "filtered");
    if (cd_is(what, "split")) {
        cd_give(given, (cd_output){.value = value, .stream = CD("other"), .key = CD("k"), .op = CD_DELETE});
        cd_give(given, (cd_output){.bytes = CD("raw")});
    }
    if (cd_is(what, "fail")) {
        cd_pass(given);
        cd_give(given, (cd_output){.value = value});
        return cd_permanent("failed late");
    }
    if (cd_is(what, "nothing")) cd_give(given, (cd_output){.stream = CD("x")});
    if (cd_is(what, "config")) return cd_config_fault("stop");
    return NULL;
}

static const cd_transformer ROUTER = {.map = router};

#define DO(what) {.key = what, .payload = "{\"do\":\"" what "\"}"}

static cd_tested routed(const cd_input *inputs, size_t count) {
    return cd_test_transform(&ROUTER, "{}", "items", inputs, count);
}

static void what_is_given_decides(void) {
    cd_input passed[] = {DO("pass"), DO("filter"), DO("drop"), DO("filter"), DO("pass")};
    cd_tested done = routed(passed, 5);
    CD_CHECK_INT(done.count, 2);
    CD_CHECK_TEXT(cd_to_json(done.filtered), "{\"filtered\":2}");

    cd_input split[] = {DO("pass"), DO("split"), DO("fail"), DO("twice"), DO("nothing"), DO("pass")};
    done = routed(split, 6);
    CD_CHECK(!done.fault);
    CD_CHECK_FAULT(done.rejected[2], CD_PERMANENT, "failed late");
    CD_CHECK_FAULT(done.rejected[4], CD_PERMANENT, "without `value`, `json` or `bytes`");
    static const char *const streams[] = {"items", "items", "items", "items", "other", "items"};
    static const uint32_t from[] = {0, 3, 3, 5, 1, 1};
    CD_CHECK_INT(done.count, 6);
    for (size_t i = 0; i < 6; i++) CD_CHECK_TEXT(done.records[i].stream, streams[i]);
    CD_CHECK(done.records[4].op == CD_DELETE && cd_is(done.records[4].key, "k"));
    CD_CHECK(done.records[5].form == CD_BYTES && cd_is(done.records[5].payload, "raw") && cd_is(done.records[5].key, "split"));
    for (size_t i = 0; i < 4; i++) CD_CHECK_TEXT(done.records[i].key, split[from[i]].key);

    /* What failed first leaves nothing, whatever comes behind it. */
    cd_input late[] = {DO("fail"), DO("pass")};
    done = routed(late, 2);
    CD_CHECK_INT(done.count, 1);
    CD_CHECK_TEXT(done.records[0].key, "pass");

    cd_input stops[] = {DO("pass"), DO("config")};
    CD_CHECK_FAULT(routed(stops, 2).fault, CD_CONFIG, "stop");
    cd_input broken[] = {{.payload = "{"}};
    CD_CHECK_FAULT(routed(broken, 1).rejected[0], CD_PERMANENT, "the payload is no JSON");
}

static cd_fault *apply_wrongly(const cd_batch *batch, cd_given *given) {
    (void)batch;
    cd_give(given, (cd_output){.json = CD("{}")});
    return NULL;
}

static void what_is_given_for_no_record_names_its_stream(void) {
    static const cd_transformer stage = {.apply = apply_wrongly};
    cd_input one[] = {DO("pass")};
    CD_CHECK_FAULT(cd_test_transform(&stage, "{}", "items", one, 1).fault, CD_PERMANENT, "without a `stream`");
}

static void a_stage_without_a_snapshot_takes_none(void) {
    cd_text foreign = CD("x"), none = CD("");
    CD_CHECK_FAULT(cd_test_open_transformer(&ROUTER, "{}", &foreign), CD_CONFIG, "not one of this plugin");
    CD_CHECK(!cd_test_open_transformer(&ROUTER, "{}", &none));
}

static size_t counted;

static cd_fault *open_counter(const cd_json *config, const cd_text *snapshot) {
    (void)config;
    counted = snapshot && snapshot->len ? (size_t)atoi(cd_string(*snapshot)) : 0;
    return NULL;
}

static cd_fault *read_counter(cd_page *page) {
    while (cd_wants(page)) {
        if (counted == 4) return cd_transient("not now");
        if (counted == 3 && !cd_add_unreadable(page, CD("?"), cd_permanent("no record"))) return NULL;
        if (counted != 3 && !cd_add(page, (cd_output){.json = CD("1234567890"), .stream = counted == 2 ? CD("b") : CD("a")})) return NULL;
        counted++;
    }
    return NULL;
}

static cd_fault *snapshot_counter(cd_text *out) {
    *out = cd_format("%zu", counted);
    return NULL;
}

static const cd_source COUNTER = {.open = open_counter, .read = read_counter, .snapshot = snapshot_counter};

static void pages_keep_to_budget_and_stream_and_a_fault_waits(void) {
    CD_CHECK(!cd_test_open_source(&COUNTER, "{}", NULL));
    cd_tested_page page = cd_test_read(&COUNTER, 10);
    CD_CHECK_INT(page.count, 2);
    page = cd_test_read(&COUNTER, 10);
    CD_CHECK(!page.fault && page.count == 1 && page.unreadable_count == 1);
    CD_CHECK_FAULT(cd_test_read(&COUNTER, 10).fault, CD_TRANSIENT, "not now");
    CD_CHECK_FAULT(cd_test_read(&COUNTER, 10).fault, CD_TRANSIENT, "not now");
    /* One record that is larger than a page is given alone. */
    CD_CHECK(!cd_test_open_source(&COUNTER, "{}", NULL));
    cd_page small = {.records = 10, .bytes = 5, .millis = 1000};
    CD_CHECK(!cd_source_read(&COUNTER, &small));
    CD_CHECK_INT(cd_builder_records(small.builder), 1);
}

/* ---- The host ---- */

static cd_fault *moody(const cd_request *request, cd_response *response) {
    static const cd_pair wait[] = {{{"retry-after", 11}, {"7", 1}}};
    if (cd_is(request->url, "/gone")) return cd_transient("nobody there");
    response->status = cd_is(request->url, "/busy") ? 429 : cd_is(request->url, "/mine") ? 403 : 200;
    response->headers = wait;
    response->header_count = 1;
    response->body = CD("<html>\n  no   JSON</html>");
    return NULL;
}

static void answers_become_faults(void) {
    cd_request requests[] = {{.url = CD("/gone")}, {.url = CD("/busy")}, {.url = CD("/mine")}, {.url = CD("/page"), .method = CD("POST")}};
    cd_answer answers[4];
    cd_json *value;
    cd_test_on_http(moody);
    cd_send_all(requests, 4, answers);
    CD_CHECK_FAULT(answers[0].fault, CD_TRANSIENT, "nobody there");
    cd_fault *busy = cd_error_for_status(&answers[1].response);
    CD_CHECK_FAULT(busy, CD_TRANSIENT, "the server answered 429: <html> no JSON</html>");
    CD_CHECK(busy->waits && busy->retry_after_ms == 7000);
    CD_CHECK_FAULT(cd_error_for_status(&answers[2].response), CD_CONFIG, "403");
    CD_CHECK(!cd_error_for_status(&answers[3].response));
    CD_CHECK_FAULT(cd_response_json(&answers[3].response, &value), CD_PERMANENT, "the response is no JSON: at byte 0");
    CD_CHECK_TEXT(cd_test_request(0)->method, "GET");
    cd_request put = cd_json_request(CD("PUT"), CD("shop"), CD("/a"), cd_new_int(7));
    CD_CHECK(put.header_count == 1 && cd_is(put.headers[0].value, "application/json") && cd_is(put.body, "7"));
}

static void tables_hold_entries(void) {
    cd_pair put[] = {{CD("a:1"), CD("{}")}, {CD("a:2"), CD("2")}, {CD("b"), CD("3")}, {CD("gone"), CD("")}};
    cd_text keys[] = {CD("a:2"), CD("gone"), CD("b")}, values[3];
    cd_pair *entries;
    size_t count;
    CD_CHECK(!cd_table_put(CD("ids"), put, 4));
    CD_CHECK(!cd_table_get(CD("ids"), keys, 3, values));
    CD_CHECK_TEXT(values[0], "2");
    CD_CHECK(!values[1].ptr);
    CD_CHECK(!cd_table_find(CD("ids"), CD("a:"), CD("a:1"), 10, &entries, &count));
    CD_CHECK_INT(count, 1);
    CD_CHECK_TEXT(entries[0].name, "a:2");
    CD_CHECK_TEXT(cd_test_table("ids", "b"), "3");
    cd_log(CD_LOG_WARN, "%d of %s", 1, "x");
    CD_CHECK_TEXT(cd_test_log(), "warn: 1 of x\n");
}

int main(void) {
    CD_RUN(json_keeps_what_was_written);
    CD_RUN(json_is_read_strictly);
    CD_RUN(json_is_looked_at_and_changed);
    CD_RUN(json_that_is_damaged_is_survived);
    CD_RUN(letters);
    CD_RUN(memory_is_used_again);
    CD_RUN(what_is_given_decides);
    CD_RUN(what_is_given_for_no_record_names_its_stream);
    CD_RUN(a_stage_without_a_snapshot_takes_none);
    CD_RUN(pages_keep_to_budget_and_stream_and_a_fault_waits);
    CD_RUN(answers_become_faults);
    CD_RUN(tables_hold_entries);
    return cd_test_end();
}
