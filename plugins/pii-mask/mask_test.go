package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crossdock"
	"crossdock/crossdocktest"
)

const testKey = "a key for tests, long enough"

// masked applies one record with one rule.
func masked(t *testing.T, rule Rule, record string) string {
	t.Helper()
	plugin := crossdocktest.OpenTransformer(t, toConfig(rule))
	done := plugin.Apply("items", record)
	if len(done.Records) != 1 {
		t.Fatalf("%d records, rejected: %v", len(done.Records), done.Rejected)
	}
	return done.Records[0].Value
}

// toConfig writes a config as a flow file has it: what is not said is left out.
func toConfig(rules ...Rule) map[string]any {
	var all []map[string]any
	for _, rule := range rules {
		one := map[string]any{"method": rule.Method}
		for name, list := range map[string][]string{
			"path": rule.Path, "detect": rule.Detect, "streams": rule.Streams, "person-names": rule.PersonNames,
		} {
			if len(list) > 0 {
				one[name] = list
			}
		}
		if rule.With != nil {
			one["with"] = *rule.With
		}
		if rule.Keep != nil {
			one["keep"] = *rule.Keep
		}
		if rule.Length != nil {
			one["length"] = *rule.Length
		}
		if rule.Scope != "" {
			one["scope"] = rule.Scope
		}
		if rule.Part != "" {
			one["part"] = rule.Part
		}
		all = append(all, one)
	}
	return map[string]any{"key": testKey, "rules": all}
}

func is(t *testing.T, found, wanted string) {
	t.Helper()
	if found != wanted {
		t.Errorf("\n%s\nand not\n%s", found, wanted)
	}
}

func TestPathsLeadToValues(t *testing.T) {
	const record = `{"a":{"b":"x","c":[{"b":"y"},{"b":1.50}]}, "b":"z" ,"~/":true,"n":null}`
	for path, wanted := range map[string]string{
		"/b":       `{"a":{"b":"x","c":[{"b":"y"},{"b":1.50}]}, "b":"[redacted]" ,"~/":true,"n":null}`,
		"/a/b":     `{"a":{"b":"[redacted]","c":[{"b":"y"},{"b":1.50}]}, "b":"z" ,"~/":true,"n":null}`,
		"/a/c/*/b": `{"a":{"b":"x","c":[{"b":"[redacted]"},{"b":"[redacted]"}]}, "b":"z" ,"~/":true,"n":null}`,
		"/a/c/1/b": `{"a":{"b":"x","c":[{"b":"y"},{"b":"[redacted]"}]}, "b":"z" ,"~/":true,"n":null}`,
		"/**/b":    `{"a":{"b":"[redacted]","c":[{"b":"[redacted]"},{"b":"[redacted]"}]}, "b":"[redacted]" ,"~/":true,"n":null}`,
		"/a/**":    `{"a":{"b":"[redacted]","c":[{"b":"[redacted]"},{"b":"[redacted]"}]}, "b":"z" ,"~/":true,"n":null}`,
		"/a":       `{"a":"[redacted]", "b":"z" ,"~/":true,"n":null}`,
		"/~0~1":    `{"a":{"b":"x","c":[{"b":"y"},{"b":1.50}]}, "b":"z" ,"~/":"[redacted]","n":null}`,
		"/n":       record,
		"/x/y":     record,
	} {
		is(t, path+" "+masked(t, Rule{Path: texts{path}, Method: "redact"}, record), path+" "+wanted)
	}
}

// TestNothingTakesLongerThanItsLength: what is checked would never end if each place were looked at from each other one.
func TestNothingTakesLongerThanItsLength(t *testing.T) {
	started := time.Now()
	every := texts{"email", "iban", "phone", "card", "ip"}
	for _, part := range []string{"0 ", "0", "+1-", "a@b.de ", "1.2.3.4 ", "a:", "(0", "DE89 ", "@", "ä@", "4111 1111 1111 1111 "} {
		text := strings.Repeat(part, 400_000/len(part))
		masked(t, Rule{Detect: every, Method: "format"}, `{"t":"`+text+`"}`)
	}
	deep := strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000)
	path := strings.Repeat("/**/a/*", 20) + "/**"
	masked(t, Rule{Path: texts{path}, Method: "redact"}, deep)
	// It is a second, on a machine that has nothing else to do.
	if took := time.Since(started); took > time.Minute {
		t.Error(took)
	}
}

func TestWhatIsDroppedTakesItsCommaAlong(t *testing.T) {
	for record, wanted := range map[string]string{
		`{"x":1}`:                       `{}`,
		`{"x":1, "a":2}`:                `{"a":2}`,
		`{"a":2 , "x":1}`:               `{"a":2 }`,
		`{"a":2,"x":{"y":[1,2]},"b":3}`: `{"a":2,"b":3}`,
		`{"x":1,"x":2,"x":3}`:           `{}`,
		`{"x":1,"x":2,"a":3,"x":4}`:     `{"a":3}`,
		`{"a":{"x":"\"}"},"x":null}`:    `{"a":{}}`,
	} {
		got := masked(t, Rule{Path: texts{"/x", "/a/x"}, Method: "drop"}, record)
		is(t, strings.ReplaceAll(got, " ", ""), strings.ReplaceAll(wanted, " ", ""))
	}
	is(t, masked(t, Rule{Path: texts{"/l/1", "/l/2"}, Method: "drop"}, `{"l":[1,2,3,4]}`), `{"l":[1,4]}`)
	is(t, masked(t, Rule{Path: texts{"/l/0"}, Method: "null"}, `{"l":[{"a":1},2]}`), `{"l":[null,2]}`)
}

func TestEachDetectorFindsItsOwnAndNothingElse(t *testing.T) {
	for _, one := range []struct{ detector, text, wanted string }{
		{"email", "write to <anna.b+x@mail.shop.example>, or bob@müller.de.", "write to <#>, or #."},
		{"email", "a@b is none, @home neither, x@1.2 nor a..@", "a@b is none, @home neither, x@1.2 nor a..@"},
		{"iban", "DE89 3704 0044 0532 0130 00 or GB82WEST12345698765432.", "# or #."},
		{"iban", "DE88 3704 0044 0532 0130 00, XX12 3456, DE89370400440532013000A", "DE88 3704 0044 0532 0130 00, XX12 3456, DE89370400440532013000A"},
		{"card", "4111 1111 1111 1111 12/27 and 5500-0000-0000-0004", "# 12/27 and #"},
		{"card", "4111111111111112, 0000000000000000, A4111111111111111", "4111111111111112, 0000000000000000, A4111111111111111"},
		{"phone", "+49 (0) 30 1234567, 0049 171 2345678; (030) 123 45 67 or 0171/2345678!", "#, #; # or #!"},
		{"phone", "06 12 34 56 78, 08-123 45 67", "#, #"},
		{"phone", "on 01.02.2026 12:30, 01.02.26, EAN 0123456789012, 2026-01-02, 12 34, A0-123456, 0.75", "on 01.02.2026 12:30, 01.02.26, EAN 0123456789012, 2026-01-02, 12 34, A0-123456, 0.75"},
		{"ip", "from 192.168.0.1:8080 and [2001:db8::1]. ::1", "from #:8080 and [#]. #"},
		{"ip", "1.2.3, 300.1.1.1, 12:30:45, v1.2.3.4, ::, 1.2.3.4.5", "1.2.3, 300.1.1.1, 12:30:45, v1.2.3.4, ::, 1.2.3.4.5"},
	} {
		with := "#"
		got := masked(t, Rule{Detect: texts{one.detector}, Method: "redact", With: &with}, fmt.Sprintf(`{"t":%q}`, one.text))
		is(t, got, fmt.Sprintf(`{"t":%q}`, one.wanted))
	}
}

func TestPersonsAreFoundByTheNameOfTheField(t *testing.T) {
	record := `{"firstName":"Anna","LAST_NAME":"Bo","name":"Cup","contact":{"Full name":["Anna Bo"]}}`
	rule := Rule{Detect: texts{"person-name"}, Method: "redact"}
	is(t, masked(t, rule, record), `{"firstName":"[redacted]","LAST_NAME":"[redacted]","name":"Cup","contact":{"Full name":["[redacted]"]}}`)
	rule.PersonNames = []string{"name"}
	is(t, masked(t, rule, record), strings.Replace(record, "Cup", "[redacted]", 1))
}

func TestTheLastOnesAreKeptUnlessThatWouldBeMostOfIt(t *testing.T) {
	for text, wanted := range map[string]string{
		"4111 1111 1111 1234": "**** **** **** 1234",
		"12345678":            "****5678",
		"1234567":             "*******",
		"Grüße, Zoë":          "****e, Zoë",
		"":                    "",
	} {
		is(t, masked(t, Rule{Path: texts{"/t"}, Method: "partial"}, fmt.Sprintf(`{"t":%q}`, text)), fmt.Sprintf(`{"t":%q}`, wanted))
	}
	keep, with := 2, "•"
	got := masked(t, Rule{Path: texts{"/t"}, Method: "partial", Keep: &keep, With: &with}, `{"t":12345}`)
	is(t, got, `{"t":"•••45"}`)
}

func TestAHashIsTheSameForTheSameHoweverItIsWritten(t *testing.T) {
	rule := Rule{Detect: texts{"email", "iban", "phone"}, Method: "hash"}
	for _, pair := range [][2]string{
		{"Anna@Shop.Example", "anna@shop.example"},
		{"DE89 3704 0044 0532 0130 00", "de89370400440532013000"},
		{"+49 30 1234567", "0049 (30) 123-4567"},
	} {
		one, other := masked(t, rule, fmt.Sprintf(`{"t":%q}`, pair[0])), masked(t, rule, fmt.Sprintf(`{"t":%q}`, pair[1]))
		is(t, one, other)
		if len(one) != len(`{"t":""}`)+defaultLength || strings.Contains(one, "anna") {
			t.Error(one)
		}
	}
	// HMAC-SHA256 of 'h', four bytes each of the scope's length and of the block, the scope, the text: it stays as it is.
	rule = Rule{Path: texts{"/t"}, Method: "hash"}
	is(t, masked(t, rule, `{"t":"anna"}`), `{"t":"db4f87ca9a378b5e6427c5584f8c4088"}`)
	is(t, masked(t, rule, `{"t":"\u0061nna"}`), `{"t":"db4f87ca9a378b5e6427c5584f8c4088"}`)
	length := 64
	long := masked(t, Rule{Path: texts{"/t"}, Method: "hash", Length: &length}, `{"t":"anna"}`)
	if !strings.HasPrefix(long, `{"t":"db4f87ca9a378b5e6427c5584f8c4088`) || len(long) != len(`{"t":""}`)+64 {
		t.Error(long)
	}
	scoped := masked(t, Rule{Path: texts{"/t"}, Method: "hash", Scope: "billing"}, `{"t":"anna"}`)
	config := toConfig(rule)
	config["key"] = testKey + "!"
	other := crossdocktest.OpenTransformer(t, config).Apply("items", `{"t":"anna"}`).Records[0].Value
	if scoped == masked(t, rule, `{"t":"anna"}`) || other == scoped || other == masked(t, rule, `{"t":"anna"}`) {
		t.Error(scoped, other)
	}
}

func TestAFormatIsKept(t *testing.T) {
	all := Rule{Detect: texts{"email", "iban", "card", "phone", "ip"}, Method: "format"}
	record := `{"e":"Anna@Shop.example","i":"DE89 3704 0044 0532 0130 00","c":4111111111111111,"d":"4111-1111-1111-1111","p":"+49 30 123","q":"+49 30 1234567","a":"10.0.0.1","b":"2001:db8::1"}`
	once, again := masked(t, all, record), masked(t, all, record)
	is(t, once, again)
	object, err := crossdock.ParseObject([]byte(once))
	if err != nil {
		t.Fatal(err, once)
	}
	text := func(name string) string {
		text, ok := object.Text(name)
		if !ok {
			t.Errorf("%s: %s", name, once)
		}
		return text
	}
	if mail := text("e"); !strings.HasSuffix(mail, ".example") || strings.Contains(mail, "anna") || len(findEmails(mail)) != 1 {
		t.Error(mail)
	}
	if iban := text("i"); len(findIBANs(iban)) != 1 || !strings.HasPrefix(iban, "DE") || iban[4] != ' ' || strings.Contains(iban, "3704 0044") {
		t.Error(iban)
	}
	for _, number := range []string{string(object.Raw("c")), strings.ReplaceAll(text("d"), "-", "")} {
		if len(number) != 16 || luhn(number) != 0 || strings.HasPrefix(number, "41111") {
			t.Error(number)
		}
	}
	is(t, text("p"), "+49 30 123")
	if phone := text("q"); phone[0] != '+' || phone[3] != ' ' || len(phone) != len("+49 30 1234567") || phone == "+49 30 1234567" {
		t.Error(phone)
	}
	for _, name := range []string{"a", "b"} {
		if address := text(name); len(findIPs(address)) != 1 || address == "10.0.0.1" || address == "2001:db8::1" {
			t.Error(address)
		}
	}
	path := Rule{Path: texts{"/*"}, Method: "format"}
	for i := range 200 {
		got := masked(t, path, fmt.Sprintf(`{"n":-%d.50e3,"z":0.%d,"t":"Zoë %d"}`, i+1, i, i))
		object, err := crossdock.ParseObject([]byte(got))
		if err != nil || !strings.HasPrefix(got, `{"n":-`) || !strings.Contains(got, `e3,"z":0.`) {
			t.Fatal(got, err)
		}
		if text, _ := object.Text("t"); len(text) != len(fmt.Sprintf("Zoe %d", i)) || text[3] != ' ' {
			t.Fatal(got)
		}
	}
}

func TestTheFirstRuleCountsAndOneForAllOfAValueBeforeThoseForParts(t *testing.T) {
	star, hash := "*", "#"
	plugin := crossdocktest.OpenTransformer(t, toConfig(
		Rule{Detect: texts{"email"}, Method: "redact", With: &star},
		Rule{Detect: texts{"email", "ip"}, Method: "redact", With: &hash},
		Rule{Path: texts{"/all"}, Method: "null"},
		Rule{Detect: texts{"card"}, Method: "drop"},
	))
	done := plugin.Apply("items", `{"t":"a@b.de from 1.2.3.4","all":"a@b.de","card":["4111111111111111","no"]}`)
	done.Gives(`{"t":"* from #","all":null,"card":["no"]}`)
}

func TestOtherStreamsAndTheKey(t *testing.T) {
	plugin := crossdocktest.OpenTransformer(t, toConfig(
		Rule{Path: texts{"/a"}, Method: "redact", Streams: texts{"people"}},
		Rule{Part: "key", Detect: texts{"email"}, Method: "hash"},
		Rule{Part: "key", Method: "drop", Streams: texts{"orders"}},
	))
	record := crossdock.Output{Key: "anna@b.de", Value: map[string]string{"a": "x"}}
	people := plugin.Apply("people", record).Records[0]
	if people.Value != `{"a":"[redacted]"}` || len(people.Key) != defaultLength {
		t.Error(people)
	}
	done := plugin.Apply("items", record, `{"a":"x"}`)
	if items := done.Records[0]; items.Value != `{"a":"x"}` || items.Key != people.Key || done.Records[1].Value != `{"a":"x"}` {
		t.Error(done.Records)
	}
	if orders := plugin.Apply("orders", record).Records[0]; orders.Key != "" || orders.Value != `{"a":"x"}` {
		t.Error(orders)
	}
	if done := plugin.Apply("items", `{"a":"x"}`); done.How != "pass" {
		t.Error(done.How)
	}
}

func TestWhatCannotBeMaskedIsNotLetThrough(t *testing.T) {
	config := toConfig(Rule{Detect: texts{"email"}, Method: "redact"})
	plugin := crossdocktest.OpenTransformer(t, config)
	raw := crossdock.Output{Value: []byte("anna@b.de")}
	if done := plugin.Apply("items", raw); len(done.Rejected) != 1 || !strings.Contains(done.Rejected[0].Message, "bytes: pass") {
		t.Error(done)
	}
	done := plugin.Apply("items", `{"a":"anna@b.de"`, `["anna@b.de"]`, `"anna@b.de"`, `7`)
	done.Gives(`["[redacted]"]`, `"[redacted]"`, `7`)
	if fault := done.Rejected[0]; fault == nil || strings.Contains(fault.Message, "anna") || fault.Kind != crossdock.KindPermanent {
		t.Error(fault)
	}
	config["bytes"] = "pass"
	if done := crossdocktest.OpenTransformer(t, config).Apply("items", raw); len(done.Records) != 1 || done.Records[0].Value != "anna@b.de" {
		t.Error(done)
	}
}

func TestTheLogSaysHowOftenAndNothingOfWhat(t *testing.T) {
	host := crossdocktest.NewHost(t)
	plugin := crossdocktest.OpenTransformer(t, toConfig(
		Rule{Path: texts{"/customer/**/mail"}, Method: "hash"}, Rule{Detect: texts{"iban"}, Method: "redact"}, Rule{Path: texts{"/x"}, Method: "null"},
	))
	record := `{"customer":{"mail":"anna@b.de"},"note":"DE89370400440532013000"}`
	plugin.Apply("items", record, record)
	plugin.Apply("items", `{}`)
	plugin.Close()
	told := fmt.Sprint(host.Logs)
	is(t, told, "[{info rules/0 (/customer/**/mail hash): 2 values masked} {info rules/1 (iban redact): 2 values masked}]")
	if host.Counters["pii_masked"] != 4 {
		t.Error(host.Counters)
	}
}

func TestABadRuleIsNamedByItsField(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hash := map[string]any{"path": "/a", "method": "hash"}
	for _, one := range []struct {
		field  string
		config map[string]any
	}{
		{"/rules", map[string]any{"rules": []any{}}},
		{"/rules/0/method", map[string]any{"rules": []any{map[string]any{"path": "/a", "method": "encrypt"}}}},
		{"/rules/0/method", map[string]any{"rules": []any{hash}}},
		{"/key", map[string]any{"key": "short", "rules": []any{hash}}},
		{"/key-file", map[string]any{"key-file": file, "rules": []any{hash}}},
		{"/key-file", map[string]any{"key-file": file + "/none", "rules": []any{hash}}},
		{"/key-file", map[string]any{"key": testKey, "key-file": file, "rules": []any{hash}}},
		{"/rules/1/path", map[string]any{"key": testKey, "rules": []any{hash, map[string]any{"path": "a", "method": "null"}}}},
		{"/rules/0/path/1", map[string]any{"rules": []any{map[string]any{"path": []string{"/a", "/~x"}, "method": "null"}}}},
		{"/rules/0/path", map[string]any{"rules": []any{map[string]any{"path": "/**/**", "method": "null"}}}},
		{"/rules/0/detect", map[string]any{"rules": []any{map[string]any{"detect": "passport", "method": "null"}}}},
		{"/rules/0", map[string]any{"rules": []any{map[string]any{"method": "null"}}}},
		{"/rules/0/keep", map[string]any{"rules": []any{map[string]any{"path": "/a", "method": "partial", "keep": 0}}}},
		{"/rules/0/keep", map[string]any{"rules": []any{map[string]any{"path": "/a", "method": "redact", "keep": 1}}}},
		{"/rules/0/with", map[string]any{"rules": []any{map[string]any{"path": "/a", "method": "partial", "with": "xx"}}}},
		{"/rules/0/length", map[string]any{"key": testKey, "rules": []any{map[string]any{"path": "/a", "method": "hash", "length": 8}}}},
		{"/rules/0/part", map[string]any{"rules": []any{map[string]any{"part": "body", "method": "null"}}}},
		{"/rules/0/path", map[string]any{"rules": []any{map[string]any{"part": "key", "path": "/a", "method": "null"}}}},
		{"/rules/0/person-names", map[string]any{"rules": []any{map[string]any{"detect": "ip", "person-names": []string{"a"}, "method": "null"}}}},
	} {
		_, err := crossdocktest.TryOpenTransformer(t, one.config)
		var fault *crossdock.Fault
		if !errors.As(err, &fault) || fault.Kind != crossdock.KindConfig || fault.Field != one.field {
			t.Errorf("%v: %#v", one.config, err)
		}
	}
}

func TestAKeyComesFromAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(testKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := map[string]any{"key-file": file, "rules": []any{map[string]any{"path": "/t", "method": "hash"}}}
	crossdocktest.OpenTransformer(t, config).Apply("items", `{"t":"anna"}`).Gives(`{"t":"db4f87ca9a378b5e6427c5584f8c4088"}`)
}
