#define _XOPEN_SOURCE 700
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crossdock_testing.h"

/* ---- What the tests read ---- */

static void write_file(const char *name, const void *bytes, size_t len) {
    FILE *file = fopen(name, "wb");
    CD_CHECK(file != NULL);
    CD_CHECK(fwrite(bytes, 1, len, file) == len);
    fclose(file);
}

static void write_text(const char *name, const char *text) {
    write_file(name, text, strlen(text));
}

static char all_folders[] = "/tmp/fixed-width-XXXXXX";

static int remove_one(const char *path, const struct stat *what, int kind, struct FTW *where) {
    (void)what, (void)kind, (void)where;
    return remove(path);
}

static void remove_folders(void) { nftw(all_folders, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

/* Every test has a folder of its own; all of them go when the tests end. */
static void in_a_folder(void) {
    static int count;
    if (count == 0) CD_CHECK(mkdtemp(all_folders) != NULL && atexit(remove_folders) == 0);
    char folder[sizeof all_folders + 16];
    snprintf(folder, sizeof folder, "%s/%d", all_folders, count++);
    CD_CHECK(mkdir(folder, 0700) == 0 && chdir(folder) == 0 && mkdir("in", 0700) == 0);
}

/* `{"files":"in/[star]","copybook":...` and more members. */
static const char *config_of(const char *copybook, const char *more) {
    cd_buffer out = {0};
    cd_put_string(&out, "{\"files\":\"in/*\",\"copybook\":");
    cd_put_quoted(&out, cd_text_of(copybook));
    if (*more) cd_put(&out, cd_format(",%s", more));
    cd_put_byte(&out, '}');
    return cd_string(cd_written_text(&out));
}

/* Reads a file of these bytes; gives its only record. */
static cd_text one(const char *copybook, const char *more, const void *bytes, size_t len) {
    in_a_folder();
    write_file("in/a", bytes, len);
    cd_tested_page all = cd_test_read_all(&crossdock_source, config_of(copybook, more));
    if (all.fault) cd_test_failed(__FILE__, __LINE__, "%.*s", CD_ARG(all.fault->message));
    if (all.unreadable_count) cd_test_failed(__FILE__, __LINE__, "%.*s", CD_ARG(all.why[0]->message));
    CD_CHECK_INT(all.count, 1);
    return all.records[0].payload;
}

static cd_fault *why_not(const char *copybook, const char *more, const void *bytes, size_t len) {
    in_a_folder();
    write_file("in/a", bytes, len);
    cd_tested_page all = cd_test_read_all(&crossdock_source, config_of(copybook, more));
    CD_CHECK(!all.fault);
    for (size_t i = 1; i < all.unreadable_count; i++) cd_test_failed(__FILE__, __LINE__, "%.*s", CD_ARG(all.why[i]->message));
    CD_CHECK_INT(all.unreadable_count, 1);
    return all.why[0];
}

static cd_fault *refused(const char *copybook, const char *more) {
    in_a_folder();
    write_text("in/a", "x");
    return cd_test_open_source(&crossdock_source, config_of(copybook, more), NULL);
}

#define BYTES(text) (text), sizeof(text) - 1
#define ASCII "\"encoding\":\"ascii\""

/* ---- Fields ---- */

static void text_in_the_code_pages_of_a_mainframe(void) {
    /* The same bytes: braces and umlauts change places. */
    CD_CHECK_TEXT(one("01 R. 05 A PIC X(6).", "", BYTES("\xC0\xC1\x4A\xD0\x40\x40")), "{\"A\":\"{A\xC2\xA2}\"}");
    CD_CHECK_TEXT(one("01 R. 05 A PIC X(6).", "\"encoding\":\"cp273\"", BYTES("\xC0\xC1\x4A\xD0\x40\x40")), "{\"A\":\"äAÄü\"}");
    CD_CHECK_TEXT(one("01 R. 05 A PIC X.", "\"encoding\":\"cp1141\"", BYTES("\x9F")), "{\"A\":\"€\"}");
    CD_CHECK_TEXT(one("01 R. 05 A PIC X(3).", "\"encoding\":\"windows-1252\"", BYTES("\x80\xE4\"")), "{\"A\":\"€ä\\\"\"}");
    CD_CHECK_FAULT(why_not("01 R. 05 A PIC X(2).", ASCII, BYTES("a\xE4")), CD_PERMANENT, "A at offset 0: the byte 0xE4 is no character of ascii");
}

static void blanks_around_text(void) {
    CD_CHECK_TEXT(one("01 R. 05 A PIC X(5).", ASCII, BYTES(" a \0 ")), "{\"A\":\" a\"}");
    CD_CHECK_TEXT(one("01 R. 05 A PIC X(5).", ASCII ",\"trim\":\"both\"", BYTES(" a   ")), "{\"A\":\"a\"}");
    CD_CHECK_TEXT(one("01 R. 05 A PIC X(5).", ASCII ",\"trim\":\"none\"", BYTES(" a \0 ")), "{\"A\":\" a \\u0000 \"}");
}

static void numbers_in_characters(void) {
    const char *book = "01 R. 05 A PIC S9(3)V99.";
    CD_CHECK_TEXT(one(book, "", BYTES("\xF0\xF1\xF2\xF3\xC4")), "{\"A\":12.34}");
    CD_CHECK_TEXT(one(book, "", BYTES("\xF0\xF0\xF0\xF0\xD5")), "{\"A\":-0.05}");
    CD_CHECK_TEXT(one(book, "", BYTES("\xF0\xF0\xF0\xF0\xD0")), "{\"A\":0.00}");
    CD_CHECK_TEXT(one(book, ASCII, BYTES("0123D")), "{\"A\":12.34}");
    CD_CHECK_TEXT(one(book, ASCII, BYTES("0123M")), "{\"A\":-12.34}");
    CD_CHECK_TEXT(one(book, ASCII, BYTES("0123t")), "{\"A\":-12.34}");
    CD_CHECK_TEXT(one("01 R. 05 A PIC S9(3) SIGN IS LEADING.", ASCII, BYTES("J23")), "{\"A\":-123}");
    CD_CHECK_TEXT(one("01 R. 05 A PIC S9(3) SIGN LEADING SEPARATE CHARACTER.", ASCII, BYTES("-123")), "{\"A\":-123}");
    CD_CHECK_TEXT(one("01 R. 05 A PIC S9(3) SIGN TRAILING SEPARATE.", "", BYTES("\xF1\xF2\xF3\x4E")), "{\"A\":123}");
    CD_CHECK_TEXT(one("01 R. 05 A PIC 9(5).", ASCII, BYTES("   42")), "{\"A\":42}");
    CD_CHECK_TEXT(one("01 R. 05 A PIC 99PP. 05 B PIC VPP99. 05 C PIC V9.", ASCII, BYTES("12347")), "{\"A\":1200,\"B\":0.0034,\"C\":0.7}");
    /* All digits, however many. */
    CD_CHECK_TEXT(one("01 R. 05 A PIC 9(31).", ASCII, BYTES("1234567890123456789012345678901")), "{\"A\":1234567890123456789012345678901}");
    CD_CHECK_FAULT(why_not(book, ASCII, BYTES("01x34")), CD_PERMANENT, "record 1 at byte 0: A at offset 0: expected digits, found 0x3031783334");
    CD_CHECK_FAULT(why_not("01 R. 05 A PIC S9 SIGN LEADING SEPARATE.", ASCII, BYTES("55")), CD_PERMANENT, "expected a sign, + or -");
}

static void packed_and_binary_numbers(void) {
    CD_CHECK_TEXT(one("01 R. 05 A PIC S9(5)V99 COMP-3.", "", BYTES("\x12\x34\x56\x7D")), "{\"A\":-12345.67}");
    CD_CHECK_TEXT(one("01 R. 05 A PIC 9(4) PACKED-DECIMAL.", "", BYTES("\x01\x23\x4F")), "{\"A\":1234}");
    CD_CHECK_FAULT(why_not("01 R. 05 A PIC 9(4) COMP-3.", "", BYTES("\x01\x2A\x4F")), CD_PERMANENT, "expected packed digits, found 0x012A4F");
    CD_CHECK_FAULT(why_not("01 R. 05 A PIC 9(3) COMP-3.", "", BYTES("\x12\x34")), CD_PERMANENT, "with a sign, A to F");
    CD_CHECK_TEXT(one("01 R. 05 A PIC S9(4) COMP. 05 B PIC 9(9) BINARY. 05 C PIC S9(10)V99 USAGE IS COMP-4.", "",
                      BYTES("\xFF\xFE" "\x00\x00\x01\x00" "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x9C")),
                  "{\"A\":-2,\"B\":256,\"C\":-1.00}");
    CD_CHECK_TEXT(one("01 R. 05 A PIC 9(18) COMP-5.", "\"comp-5\":\"little-endian\"", BYTES("\x01\0\0\0\0\0\0\x80")), "{\"A\":9223372036854775809}");
    CD_CHECK_TEXT(one("01 R. 05 A PIC S9(4) COMP-5.", "", BYTES("\x80\x00")), "{\"A\":-32768}");
    CD_CHECK_TEXT(one("01 R. 05 A COMP-1. 05 B COMP-2.", "", BYTES("\xC2\x76\xA0\x00" "\x41\x10\0\0\0\0\0\0")), "{\"A\":-118.625,\"B\":1}");
    CD_CHECK_TEXT(one("01 R. 05 A USAGE COMP-1.", "\"floats\":\"ieee\"", BYTES("\xC2\xED\x40\x00")), "{\"A\":-118.625}");
}

static void numbers_that_are_blank(void) {
    const char *book = "01 R. 05 A PIC 9(3). 05 B PIC S9(3) COMP-3.";
    CD_CHECK_TEXT(one(book, "", BYTES("\x40\x40\x40\x00\x00")), "{\"A\":null,\"B\":null}");
    CD_CHECK_TEXT(one(book, "\"blank-numbers\":\"zero\"", BYTES("\x40\x40\x40\x00\x00")), "{\"A\":0,\"B\":0}");
    CD_CHECK_FAULT(why_not(book, "\"blank-numbers\":\"reject\"", BYTES("\x40\x40\x40\x00\x00")), CD_PERMANENT, "A at offset 0: the number is blank");
}

static void what_is_edited_for_people_stays_a_text(void) {
    CD_CHECK_TEXT(one("01 R. 05 A PIC ZZ,ZZ9.99-. 05 B PIC 9(3)CR.", ASCII, BYTES(" 1,234.50-007CR")), "{\"A\":\" 1,234.50-\",\"B\":\"007CR\"}");
}

/* ---- Groups, tables, views ---- */

static const char ORDER[] =
    "000100 01  ORDER-RECORD.                                                IDENT\n"
    "000200* A comment\n"
    "000300     05  ORDER-ID      PIC 9(4).\n"
    "000400     05  FILLER        PIC X(2).\n"
    "000500     05  CUSTOMER.\n"
    "000600         10  LAST-NAME PIC X(5) VALUE 'A. B.'.\n"
    "000700         88  IS-NOBODY VALUE SPACES.\n"
    "           05  LINES-COUNT   PIC 9.\n"
    "           05  LINES-T OCCURS 0 TO 3 TIMES DEPENDING ON LINES-COUNT INDEXED BY I.\n"
    "               10  SKU       PIC X(2).\n"
    "               10  QTY       PIC 9(2) OCCURS 2. *> twice\n";

static void groups_and_tables(void) {
    CD_CHECK_TEXT(one(ORDER, ASCII, BYTES("0042--Smith2AA0102BB0304      ")),
                  "{\"ORDER-ID\":42,\"CUSTOMER\":{\"LAST-NAME\":\"Smith\"},\"LINES-COUNT\":2,"
                  "\"LINES-T\":[{\"SKU\":\"AA\",\"QTY\":[1,2]},{\"SKU\":\"BB\",\"QTY\":[3,4]}]}");
    CD_CHECK_TEXT(one(ORDER, ASCII ",\"names\":\"camel\"", BYTES("0042--Smith0                  ")),
                  "{\"orderId\":42,\"customer\":{\"lastName\":\"Smith\"},\"linesCount\":0,\"linesT\":[]}");
    CD_CHECK_TEXT(one("01 R. 05 ORDER-ID PIC X.", ASCII ",\"names\":\"snake\"", BYTES("x")), "{\"order_id\":\"x\"}");
    CD_CHECK_FAULT(why_not(ORDER, ASCII, BYTES("0042--Smith4AA0102BB0304      ")), CD_PERMANENT,
                   "LINES-COUNT says that it is there `4` times, but that is 0 to 3");
    CD_CHECK_FAULT(why_not(ORDER, ASCII, BYTES("0042--Smith2AA0102BB03x4      ")), CD_PERMANENT, "LINES-T[2].QTY[2] at offset 22: expected digits, found 0x7834");
}

static void tables_as_long_as_they_are_counted(void) {
    const char *book = "01 R. 05 N PIC 9. 05 A PIC X OCCURS 1 TO 5 DEPENDING ON N. 05 B PIC X(2).";
    CD_CHECK_TEXT(one(book, ASCII ",\"records\":\"rdw\",\"variable-occurs\":true", BYTES("\0\x08\0\0" "1abb")), "{\"N\":1,\"A\":[\"a\"],\"B\":\"bb\"}");
    CD_CHECK_TEXT(one(book, ASCII, BYTES("1a    bb")), "{\"N\":1,\"A\":[\"a\"],\"B\":\"bb\"}");
    CD_CHECK_FAULT(refused(book, ASCII ",\"variable-occurs\":true"), CD_CONFIG, "fixed length");
}

static void one_view_or_another(void) {
    const char *book = "01 R. 05 KIND PIC X. 05 A PIC X(4). 05 B REDEFINES A PIC 9(4). 05 FILLER REDEFINES A. 10 C PIC X. 05 Z PIC X.";
    CD_CHECK_TEXT(one(book, ASCII, BYTES("T0012z")), "{\"KIND\":\"T\",\"A\":\"0012\",\"Z\":\"z\"}");
    CD_CHECK_TEXT(one(book, ASCII ",\"redefines\":{\"a\":\"B\"}", BYTES("T0012z")), "{\"KIND\":\"T\",\"B\":12,\"Z\":\"z\"}");
    CD_CHECK_TEXT(one(book, ASCII ",\"redefines\":{\"A\":\"all\"}", BYTES("T0012z")),
                  "{\"KIND\":\"T\",\"A\":\"0012\",\"B\":12,\"C\":\"0\",\"Z\":\"z\"}");
    const char *by = ASCII ",\"redefines\":{\"A\":{\"by\":\"KIND\",\"when\":{\"T\":\"A\",\"N\":\"B\"}}}";
    CD_CHECK_TEXT(one(book, by, BYTES("T0012z")), "{\"KIND\":\"T\",\"A\":\"0012\",\"Z\":\"z\"}");
    CD_CHECK_TEXT(one(book, by, BYTES("N0012z")), "{\"KIND\":\"N\",\"B\":12,\"Z\":\"z\"}");
    CD_CHECK_FAULT(why_not(book, by, BYTES("?0012z")), CD_PERMANENT, "KIND at offset 0: `?` is not named in `redefines`");
    CD_CHECK_FAULT(refused(book, ASCII ",\"redefines\":{\"Z\":\"A\"}"), CD_CONFIG, "`Z` is no field that another one redefines");
}

static void layouts_are_chosen_by_a_field(void) {
    const char *book = "01 HEADER. 05 KIND PIC X. 05 DAY PIC 9(2). 01 ITEM. 05 KIND PIC X. 05 SKU PIC X(3).";
    in_a_folder();
    write_text("in/a", "H07\nIabc\n\nI d\nX..\n");
    cd_tested_page all = cd_test_read_all(&crossdock_source, config_of(book, ASCII ",\"records\":\"lines\",\"key\":\"SKU\",\"layouts\":{\"by\":\"KIND\",\"when\":{\"H\":\"HEADER\",\"I\":\"ITEM\"}}"));
    CD_CHECK(!all.fault);
    CD_CHECK_INT(all.count, 3);
    CD_CHECK_TEXT(all.records[0].stream, "header");
    CD_CHECK_TEXT(all.records[0].payload, "{\"KIND\":\"H\",\"DAY\":7}");
    CD_CHECK_TEXT(all.records[1].stream, "item");
    CD_CHECK_TEXT(all.records[1].key, "abc");
    CD_CHECK_TEXT(all.records[1].headers, "{\"file\":\"in/a\"}");
    CD_CHECK_TEXT(all.records[2].payload, "{\"KIND\":\"I\",\"SKU\":\" d\"}");
    CD_CHECK_INT(all.unreadable_count, 1);
    CD_CHECK_FAULT(all.why[0], CD_PERMANENT, "record 5 at byte 14: KIND at offset 0: `X` is not named in `layouts`");
    CD_CHECK_TEXT(all.why[0]->location, "in/a:5");
    CD_CHECK_TEXT(all.unreadable[0], "X..");
    CD_CHECK_FAULT(refused(book, ""), CD_CONFIG, "several records at level 01");
}

/* ---- Files ---- */

static void files_that_end_within_a_record(void) {
    const char *book = "01 R. 05 A PIC X(3).";
    CD_CHECK_FAULT(why_not(book, ASCII, BYTES("ab")), CD_PERMANENT, "the file ends within a record: it has 2 of 3 bytes");
    CD_CHECK_TEXT(one("01 R. 05 A PIC X(4).", ASCII, BYTES("abcd\r\n\x1A")), "{\"A\":\"abcd\"}");
    CD_CHECK_FAULT(why_not(book, ASCII ",\"records\":\"rdw\"", BYTES("\0\x07\0\0" "ab")), CD_PERMANENT, "ends within a record: it has 2 of 3 bytes");
    CD_CHECK_FAULT(why_not(book, ASCII ",\"records\":\"rdw\"", BYTES("abcdef")), CD_PERMANENT, "0x61626364 is no length of a record");
    CD_CHECK_FAULT(why_not(book, ASCII ",\"records\":\"lines\"", BYTES("abcd\n")), CD_PERMANENT, "the record has 4 bytes, but R has 3");
    CD_CHECK_FAULT(why_not(book, ASCII ",\"records\":\"lines\",\"max-record-bytes\":64", BYTES("0123456789012345678901234567890123456789012345678901234567890123456789")), CD_PERMANENT,
                   "longer than 64 bytes");
}

static void lengths_before_records(void) {
    const char *book = "01 R. 05 A PIC X(2). 05 B PIC X(2). 05 C PIC X.";
    CD_CHECK_TEXT(one(book, ASCII ",\"records\":\"rdw\"", BYTES("\0\x07\0\0" "abc")), "{\"A\":\"ab\",\"B\":\"c\"}");
    CD_CHECK_TEXT(one(book, ASCII ",\"records\":\"rdw-payload\"", BYTES("\0\x02\0\0" "ab")), "{\"A\":\"ab\"}");
    CD_CHECK_TEXT(one(book, ASCII ",\"records\":\"rdw-little-endian\"", BYTES("\0\0\x05\0" "abcde")), "{\"A\":\"ab\",\"B\":\"cd\",\"C\":\"e\"}");
}

static void it_goes_on_where_it_was_and_only_there(void) {
    const char *config = config_of("01 R. 05 A PIC X(2).", ASCII ",\"key\":\"a\",\"skip-records\":1");
    in_a_folder();
    write_text("in/a", "--a1a2a3");
    write_text("in/b", "--b1");
    cd_tested_page all = cd_test_read_all(&crossdock_source, config);
    CD_CHECK_INT(all.count, 4);
    CD_CHECK_TEXT(all.records[0].key, "a1");
    CD_CHECK_TEXT(all.records[3].key, "b1");

    cd_text snapshot;
    CD_CHECK(!cd_test_open_source(&crossdock_source, config, NULL));
    CD_CHECK_INT(cd_test_read(&crossdock_source, 2).count, 2);
    CD_CHECK(!crossdock_source.snapshot(&snapshot));
    write_text("in/a", "--a1a2a3a4");
    CD_CHECK(!cd_test_open_source(&crossdock_source, config, &snapshot));
    CD_CHECK_TEXT(cd_test_read(&crossdock_source, 1).records[0].key, "a3");
    write_text("in/a", "--a1xxa3a4");
    CD_CHECK_FAULT(cd_test_open_source(&crossdock_source, config, &snapshot), CD_CONFIG, "has changed since 3 records");
    CD_CHECK(remove("in/a") == 0);
    CD_CHECK_FAULT(cd_test_open_source(&crossdock_source, config, &snapshot), CD_CONFIG, "of which 3 records were read, is gone");
    cd_text other = CD("{}");
    CD_CHECK_FAULT(cd_test_open_source(&crossdock_source, config, &other), CD_CONFIG, "not one of this plugin");
}

static void files_that_are_not_there(void) {
    in_a_folder();
    CD_CHECK(mkdir("in/folder", 0700) == 0);
    cd_fault *fault = cd_test_open_source(&crossdock_source, config_of("01 R. 05 A PIC X.", ""), NULL);
    CD_CHECK_FAULT(fault, CD_CONFIG, "no file matches `in/*`");
    CD_CHECK_TEXT(fault->field, "/files");
}

static void patterns_of_names(void) {
    static const char *const names[] = {"in/a1", "in/a2", "in/b1", "in/a", "in/c[", "in/.hidden"};
    static const struct {
        const char *pattern, *found;
    } patterns[] = {{"in/a?", "a1a2"}, {"in/*1", "a1b1"}, {"in/[ab]1", "a1b1"}, {"in/[!a]*", "b1c["}, {"in/[a-b][2-9]", "a2"}, {"in/c[", "c["}, {"in/a*", "aa1a2"}, {"in/.h*", ".hidden"}};
    in_a_folder();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) write_text(names[i], names[i] + 3);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        cd_buffer config = {0}, found = {0};
        cd_put_string(&config, "{\"files\":");
        cd_put_quoted(&config, cd_text_of(patterns[i].pattern));
        cd_put_string(&config, ",\"copybook\":\"01 R. 05 A PIC X(8).\",\"records\":\"lines\"," ASCII "}");
        cd_tested_page all = cd_test_read_all(&crossdock_source, cd_string(cd_written_text(&config)));
        CD_CHECK(!all.fault);
        for (size_t n = 0; n < all.count; n++) {
            cd_json *record = NULL;
            CD_CHECK(!cd_parse(all.records[n].payload, &record));
            cd_put(&found, cd_get_text(record, "A", ""));
        }
        CD_CHECK_TEXT(cd_written_text(&found), patterns[i].found);
    }
}

/* ---- Copybooks ---- */

static void a_copybook_that_is_wrong_is_told_with_its_line(void) {
    static const struct {
        const char *book, *words;
    } wrong[] = {
        {"", "there is no field in it"},
        {"01 R.\n  05 A PIC X(0).", "copybook:2: PIC X(0): behind `(`"},
        {"01 R.\n  05 A PIC Q.", "copybook:2: PIC Q: this is not known in it"},
        {"01 R.\n  05 A PIC N(3).", "national characters"},
        {"01 R.\n  05 A PIC 9(39).", "up to 38 digits"},
        {"01 R.\n  05 A.", "A has neither a picture nor fields in it"},
        {"01 R.\n  05 A PIC X COMP-3.", "A is no number"},
        {"01 R.\n  05 A PIC 9(19) COMP.", "more than 18 digits"},
        {"01 R.\n  05 A PIC X.\n  10 B PIC X.", "A has a picture and, in line 3, a field in it"},
        {"01 R.\n  05 A PIC X.\n  05 A PIC X.", "A is there twice in R, first in line 2"},
        {"01 R.\n  05 A REDEFINES B PIC X.", "A REDEFINES B, which is not before it"},
        {"01 R.\n  05 A PIC X OCCURS 1 TO 3 DEPENDING ON N.", "DEPENDING ON N: that is no whole number before it"},
        {"01 R.\n  05 A PIC X OCCURS 99999999.", "OCCURS without a number"},
        {"01 R.\n  05 A OCCURS 9999.\n 10 B PIC X(9999).", "longer than 16 MiB"},
        {"01 R.\n  05 A PIC S9(4) COMP SYNC.", "SYNCHRONIZED is not supported"},
        {"COPY OTHER.", "COPY is not followed"},
        {"01 R.\n  05 A PIC X WHATEVER.", "`WHATEVER` is not known here"},
        {"HELLO.", "expected a level number, found `HELLO`"},
        {"01 R. 05 A PIC X.\n50 B PIC X.", "level 50 is not known"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cd_fault *fault = refused(wrong[i].book, "");
        CD_CHECK_FAULT(fault, CD_CONFIG, wrong[i].words);
        CD_CHECK_TEXT(fault->field, "/copybook");
    }
}

static void lines_of_cards_and_free_ones(void) {
    CD_CHECK_TEXT(one("01 R.\n    05 A PIC X.\n      05 B PIC X.\n        05 C PIC X. *> last", ASCII, BYTES("abc")),
                  "{\"A\":\"a\",\"B\":\"b\",\"C\":\"c\"}");
    CD_CHECK_TEXT(one("000100 01 R.\n      D    05 A PIC X.\n      * 05 B PIC X.\n       05 C\n      -   PIC X.", ASCII, BYTES("ac")),
                  "{\"A\":\"a\",\"C\":\"c\"}");
}

static void a_copybook_without_a_record_is_one(void) {
    CD_CHECK_TEXT(one("05 A PIC X. 05 B COMP-3. 10 C PIC 9.", "", BYTES("\xC1\x5C")), "{\"A\":\"A\",\"B\":{\"C\":5}}");
}

/* Copybooks and data with a few bytes that are wrong: told, or read, and never more than that. */
static void whatever_is_wrong_is_survived(void) {
    static const char *const settings[] = {ASCII, "\"records\":\"lines\"," ASCII, "\"records\":\"rdw\",\"variable-occurs\":true", "\"redefines\":{\"A\":\"all\"}"};
    static const char signs[] = "019X.(), -VSPZ\n'*";
    static const char book[] =
        "01 R.\n 05 N PIC 9 COMP-3.\n 05 A PIC X(4).\n 05 B REDEFINES A PIC S9(4)V99 COMP-3 OCCURS 1.\n"
        " 05 T OCCURS 0 TO 5 TIMES DEPENDING ON N.\n  10 F COMP-1.\n  10 G PIC S9(3) SIGN LEADING SEPARATE OCCURS 2.\n 05 C PIC VPP9.";
    uint64_t seed = 7;
    size_t read = 0;
    in_a_folder();
    for (int turn = 0; turn < 1000; turn++) {
        char text[sizeof book];
        unsigned char data[200];
        memcpy(text, book, sizeof book);
        for (size_t i = 0; i < sizeof data; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            data[i] = seed >> 62 ? (unsigned char)(seed >> 40) : (unsigned char)(seed >> 40 & 3);
        }
        for (int wrong = turn % 4; wrong > 0; wrong--) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            text[(seed >> 33) % (sizeof book - 1)] = signs[(seed >> 20) % (sizeof signs - 1)];
        }
        cd_test_start("whatever_is_wrong_is_survived");
        write_file("in/a", data, sizeof data - (size_t)turn % 60);
        cd_tested_page all = cd_test_read_all(&crossdock_source, config_of(text, settings[turn / 4 % 4]));
        if (!all.fault) read++;
    }
    /* A fourth of the copybooks is whole. */
    CD_CHECK(read > 250 && read < 700);
}

int main(void) {
    CD_RUN(text_in_the_code_pages_of_a_mainframe);
    CD_RUN(blanks_around_text);
    CD_RUN(numbers_in_characters);
    CD_RUN(packed_and_binary_numbers);
    CD_RUN(numbers_that_are_blank);
    CD_RUN(what_is_edited_for_people_stays_a_text);
    CD_RUN(groups_and_tables);
    CD_RUN(tables_as_long_as_they_are_counted);
    CD_RUN(one_view_or_another);
    CD_RUN(layouts_are_chosen_by_a_field);
    CD_RUN(files_that_end_within_a_record);
    CD_RUN(lengths_before_records);
    CD_RUN(it_goes_on_where_it_was_and_only_there);
    CD_RUN(files_that_are_not_there);
    CD_RUN(patterns_of_names);
    CD_RUN(a_copybook_that_is_wrong_is_told_with_its_line);
    CD_RUN(lines_of_cards_and_free_ones);
    CD_RUN(a_copybook_without_a_record_is_one);
    CD_RUN(whatever_is_wrong_is_survived);
    return cd_test_end();
}
