package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

// rulesOf compiles rules that a test is sure of.
func rulesOf(t testing.TB, given ...Rule) []*rule {
	t.Helper()
	rules, err := Config{Rules: given}.compile()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// FuzzAnyJSONStaysJSON: whatever the record and whatever is masked, what goes on is JSON, and the same again the next time.
func FuzzAnyJSONStaysJSON(f *testing.F) {
	for _, seed := range []string{
		`{"a":{"b":[1,{"c":"anna@shop.example"}]}, "x" : "DE89370400440532013000"}`, `[[],{},"",null,-0.5e3,true]`,
		`{"x":1,"x":2,"a":"\ud83d\ude00 +49 30 1234567"}`, `"4111 1111 1111 1111 at ::1 and 10.0.0.1"`, "{\"\xff\":\"\xff@b.de\"}",
		`{"c":4111111111111111}`, `{"firstName":["a",{"b":"c"}]}`, `{"t":"1.2.3.4.5 00:11::22 a@b@c.de (030)1234567/8"}`,
	} {
		f.Add([]byte(seed))
	}
	every := texts{"email", "phone", "iban", "card", "ip"}
	var sets [][]*rule
	for _, method := range []string{"redact", "partial", "hash", "format", "null", "drop"} {
		sets = append(sets,
			rulesOf(f, Rule{Detect: every, Method: method}, Rule{Detect: texts{"person-name"}, Method: method}),
			rulesOf(f, Rule{Path: texts{"/a/**/c", "/x", "/*/0"}, Method: method}, Rule{Detect: every, Method: "format"}),
			rulesOf(f, Rule{Path: texts{"/**"}, Method: method}),
			rulesOf(f, Rule{Path: texts{""}, Method: method}),
		)
	}
	keyed := newKeyed([]byte(testKey))
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		before := bytes.Clone(text)
		for i, rules := range sets {
			one := rewriter{keyed: &keyed, counts: counts{}}
			masked, changed := one.mask(text, rules)
			if !json.Valid(masked) {
				t.Fatalf("set %d makes %q of %q", i, masked, text)
			}
			if changed != (len(one.counts) > 0) || !changed && !bytes.Equal(masked, text) {
				t.Fatalf("set %d says %v of %q and counts %v", i, changed, text, one.counts)
			}
			if again, _ := one.mask(text, rules); !bytes.Equal(again, masked) || !bytes.Equal(before, text) {
				t.Fatalf("set %d makes %q and then %q of %q", i, masked, again, text)
			}
		}
	})
}
