package crossdock_test

import (
	"encoding/json"
	"strings"
	"testing"

	"crossdock"
)

func TestAnObjectStaysAsItIsWrittenWhereNothingIsSet(t *testing.T) {
	object, err := crossdock.ParseObject([]byte(" { \"net\" : 9.90 , \"a\\u0062\":[1, {\"x\":\"}\\\"\"}], \"net\": 1e2,\"e\":{} } "))
	if err != nil {
		t.Fatal(err)
	}
	if err := object.Set("new", "<ß>"); err != nil {
		t.Fatal(err)
	}
	if err := object.Set("ab", json.Number("12345678901234567890.10")); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(object)
	wanted := `{"net":9.90,"ab":12345678901234567890.10,"net":1e2,"e":{},"new":"\u003cß\u003e"}`
	if err != nil || string(text) != wanted {
		t.Error(string(text), err)
	}
	object.Delete("net")
	if own, err := object.MarshalJSON(); err != nil || !strings.HasPrefix(string(own), `{"ab":`) || !strings.HasSuffix(string(own), `"<ß>"}`) {
		t.Error(string(own), err)
	}
	var list []any
	if err := object.Decode("new", &list); err == nil || !strings.Contains(err.Error(), "expected a list, found a JSON string") {
		t.Error(err)
	}
	if object.Len() != 3 || object.Has("net") || object.Raw("nothing") != nil || object.Decode("nothing", &list) != nil {
		t.Error(object.Names())
	}
}

func TestOfTwoFieldsWithOneNameTheLastCounts(t *testing.T) {
	object, err := crossdock.ParseObject([]byte(`{"a":"x","a":"y"}`))
	if err != nil {
		t.Fatal(err)
	}
	if text, ok := object.Text("a"); !ok || text != "y" {
		t.Error(text, ok)
	}
}

func TestWhatIsNoObjectIsTold(t *testing.T) {
	for text, words := range map[string]string{
		``:                         "no JSON",
		`{"a":1`:                   "no JSON",
		`{"a":1} x`:                "no JSON",
		`[1]`:                      "expected a JSON object, found [1]",
		`"\ud800"`:                 "expected a JSON object",
		strings.Repeat("[", 20000): "no JSON",
	} {
		if _, err := crossdock.ParseObject([]byte(text)); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%.20s: %v", text, err)
		}
	}
}

func FuzzAnyObjectIsTakenAsEncodingJSONTakesIt(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1}`, `{"a\"":[{},"]"],"b":-0.1E+2 , "":null}`, "{\"\xff\":1}", `{"a":{"b":{"c":[]}}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var plain map[string]json.RawMessage
		err := json.Unmarshal(text, &plain)
		object, own := crossdock.ParseObject(text)
		if isNull := err == nil && plain == nil; isNull != (err == nil && own != nil) || err != nil && own == nil {
			t.Fatalf("%q: %v, %v", text, err, own)
		}
		for name, raw := range plain {
			if string(object.Raw(name)) != string(raw) {
				t.Fatalf("%q of %q: %q", name, text, object.Raw(name))
			}
		}
	})
}
