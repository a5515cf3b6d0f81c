package crossdock_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"crossdock"
	"crossdock/crossdocktest"
)

type config struct {
	Size  int                `json:"size"`
	Names []string           `json:"names"`
	In    struct{ A string } `json:"in"`
}

// mapper is a transformer of one function.
type mapper func(record *crossdock.Record, out *crossdock.Out) error

func (m mapper) Map(record *crossdock.Record, out *crossdock.Out) error { return m(record, out) }

func register(with mapper) {
	crossdock.RegisterTransformer(func(config) (mapper, error) { return with, nil })
}

func faultOf(t *testing.T, err error) *crossdock.Fault {
	t.Helper()
	var fault *crossdock.Fault
	if !errors.As(err, &fault) {
		t.Fatalf("no fault: %v", err)
	}
	return fault
}

func TestWhatATransformerSaysBecomesOfARecord(t *testing.T) {
	register(func(record *crossdock.Record, out *crossdock.Out) error {
		switch record.Key() {
		case "pass":
			out.Pass()
		case "filter":
			out.Filter("not today")
		case "change":
			out.Give(crossdock.Output{Value: map[string]any{"b": "<", "a": 1}, Stream: "others", Headers: map[string]string{"x": "y"}})
		case "twice":
			out.Pass()
			out.Give(crossdock.Output{Value: []byte{0xFF}, Key: "second", Op: crossdock.Delete})
		case "late":
			out.Pass()
			return crossdock.Permanent("no")
		case "bad":
			out.Value(make(chan int))
		}
		return nil
	})
	plugin := crossdocktest.OpenTransformer(t, config{})
	of := func(keys ...string) *crossdocktest.Applied {
		var records []any
		for _, key := range keys {
			records = append(records, crossdock.Output{Value: key, Key: key})
		}
		return plugin.Apply("items", records...)
	}
	if done := of("pass", "pass"); done.How != "pass" {
		t.Error(done)
	}
	if done := of("filter", "pass", "nothing", "late"); done.How != "select" || len(done.Records) != 1 || done.Filtered["not today"] != 1 || len(done.Rejected) != 1 {
		t.Error(done)
	}
	done := of("pass", "change", "late", "bad", "twice", "filter")
	told := fmt.Sprint(done.How, done.Records, len(done.Rejected), done.Filtered)
	wanted := "replace[{items pass false  \"pass\"} {items twice false  \"twice\"} {others change false {\"x\":\"y\"} {\"a\":1,\"b\":\"<\"}}" +
		" {items second true  \xff}] 2 map[not today:1]"
	if told != wanted {
		t.Errorf("%s\n%s", told, wanted)
	}
	if fault := done.Rejected[3]; !strings.Contains(fault.Message, "cannot be said in JSON") {
		t.Error(fault)
	}
}

func panics(list []int) int { return list[3] }

func TestAPanicIsAFaultThatSaysWhere(t *testing.T) {
	register(func(record *crossdock.Record, out *crossdock.Out) error {
		if record.Key() == "bad" {
			panics([]int{1})
		}
		out.Pass()
		return nil
	})
	done := crossdocktest.OpenTransformer(t, config{}).Apply("items", crossdock.Output{Key: "bad"}, `{}`)
	fault := done.Rejected[0]
	if len(done.Records) != 1 || fault == nil || !strings.Contains(fault.Message, "panic: runtime error: index out of range [3] with length 1 (at ") {
		t.Fatal(done.Rejected)
	}
	if !strings.Contains(fault.Message, "panics stage_test.go:") || !strings.HasPrefix(fault.Location, "stage_test.go:") {
		t.Error(fault.Message, fault.Location)
	}

	crossdock.RegisterTransformer(func(config) (mapper, error) { panic("not today") })
	_, err := crossdocktest.TryOpenTransformer(t, config{})
	if fault := faultOf(t, err); !strings.HasPrefix(fault.Message, "panic: not today (at ") || !strings.Contains(fault.Message, "stage_test.go:") {
		t.Error(fault)
	}
}

func TestAConfigIsDecodedAndWhatIsWrongNamesTheField(t *testing.T) {
	register(nil)
	for text, wanted := range map[string]string{
		`{"size":"x"}`:      "/size: expected an integer that fits int, found a JSON string",
		`{"size":1.5}`:      "/size: expected an integer that fits int, found a JSON number 1.5",
		`{"names":{"a":1}}`: "/names: expected a list, found a JSON object",
		`{"in":{"A":7}}`:    "/in/A: expected a text, found a JSON number",
		`[]`:                ": expected an object, found a JSON array",
	} {
		_, err := crossdocktest.TryOpenTransformer(t, json.RawMessage(text))
		fault := faultOf(t, err)
		if told := fault.Field + ": " + fault.Message; fault.Kind != crossdock.KindConfig || told != wanted {
			t.Errorf("%s: %s", text, told)
		}
	}
}

func TestAConfigFaultOfARecordStopsTheRun(t *testing.T) {
	register(func(*crossdock.Record, *crossdock.Out) error {
		return fmt.Errorf("looking up: %w", crossdock.ConfigError("/size", "too small"))
	})
	crossdocktest.OpenTransformer(t, config{})
	stop := &stopped{TB: t}
	func() {
		defer func() { _ = recover() }()
		crossdocktest.OpenTransformer(stop, config{}).Apply("items", `{}`)
	}()
	if !strings.Contains(stop.told, "looking up: too small") {
		t.Error(stop.told)
	}
}

// stopped is a test that may fail.
type stopped struct {
	testing.TB
	told string
}

func (s *stopped) Helper() {}

func (s *stopped) Fatal(words ...any) {
	s.told = fmt.Sprint(words...)
	panic("stopped")
}

// counter numbers the records, and so has state.
type counter struct{ n int }

func (c *counter) Map(_ *crossdock.Record, out *crossdock.Out) error {
	out.Value(c.n)
	c.n++
	return nil
}

func (c *counter) Snapshot() (any, error) { return c.n, nil }

func (c *counter) Finish() ([]crossdock.Output, error) {
	return []crossdock.Output{{Value: c.n, Stream: "total"}}, nil
}

func TestAStatefulTransformerGoesOnFromItsSnapshot(t *testing.T) {
	crossdock.RegisterStatefulTransformer(func(_ config, n *int) (*counter, error) {
		if n == nil {
			n = new(int)
		}
		return &counter{*n}, nil
	})
	first := crossdocktest.OpenTransformer(t, config{})
	first.Apply("items", `{}`, `{}`).Gives("0", "1")
	second := crossdocktest.OpenTransformer(t, config{}, first.Snapshot())
	second.Apply("items", `{}`).Gives("2")
	if total := second.Finish(); len(total) != 1 || total[0].Value != "3" || total[0].Stream != "total" || !second.Stateful {
		t.Error(total)
	}
	_, err := crossdocktest.TryOpenTransformer(t, config{}, []byte(`{"other":1}`))
	if fault := faultOf(t, err); fault.Kind != crossdock.KindConfig {
		t.Error(fault)
	}
}

// list is a source of what a test says: outputs and errors.
type list struct{ items []any }

func (l *list) Next() (crossdock.Output, error) {
	if len(l.items) == 0 {
		return crossdock.Output{}, io.EOF
	}
	item := l.items[0]
	l.items = l.items[1:]
	if err, ok := item.(error); ok {
		return crossdock.Output{}, err
	}
	return item.(crossdock.Output), nil
}

func registerList(items ...any) {
	crossdock.RegisterSource(func(_ config, after *string) (*list, error) {
		left := items
		for after != nil && len(left) > 0 {
			output, ok := left[0].(crossdock.Output)
			left = left[1:]
			if ok && output.Position == *after {
				break
			}
		}
		return &list{left}, nil
	})
}

func output(value int, position any) crossdock.Output {
	return crossdock.Output{Value: value, Stream: "items", Position: position}
}

func TestASourceResumesBehindEveryRecordWithAPositionOrWithout(t *testing.T) {
	registerList(output(1, nil), output(2, nil), output(3, "three"), output(4, nil), output(5, nil), output(6, "six"))
	if all := crossdocktest.ReadAll(t, config{}); len(all) != 6 {
		t.Error(all)
	}
}

func TestAPageEndsWhereTheContractSays(t *testing.T) {
	unreadable := crossdock.Unreadable([]byte("?"), crossdock.Permanent("no number").At("a:2"), nil)
	other := crossdock.Output{Value: 4, Stream: "others"}
	registerList(output(1, nil), unreadable, output(2, nil), other, crossdock.Transient("later").After(time.Second), output(5, nil), crossdock.Idle(3*time.Second))
	source := crossdocktest.OpenSource(t, config{})
	page := source.Read(crossdocktest.Budget{})
	if len(page.Records) != 2 || len(page.Unreadable) != 1 || page.Unreadable[0].Fault.Location != "a:2" {
		t.Error(page)
	}
	if page = source.Read(crossdocktest.Budget{}); len(page.Records) != 1 || page.Records[0].Stream != "others" {
		t.Error(page)
	}
	_, err := source.TryRead(crossdocktest.Budget{})
	if fault := faultOf(t, err); fault.Kind != crossdock.KindTransient || fault.RetryAfter != time.Second {
		t.Error(fault)
	}
	if page = source.Read(crossdocktest.Budget{}); len(page.Records) != 1 {
		t.Error(page)
	}
	if page = source.Read(crossdocktest.Budget{}); page.Idle == nil || *page.Idle != 3*time.Second {
		t.Error(page)
	}
	if page = source.Read(crossdocktest.Budget{}); !page.End {
		t.Error(page)
	}
	registerList(output(1, nil), output(22, nil), output(333, nil))
	source = crossdocktest.OpenSource(t, config{})
	if page = source.Read(crossdocktest.Budget{Bytes: 3}); len(page.Records) != 2 {
		t.Error(page)
	}
	registerList(crossdock.Output{Value: 1})
	if _, err = crossdocktest.OpenSource(t, config{}).TryRead(crossdocktest.Budget{}); !strings.Contains(err.Error(), "without a `Stream`") {
		t.Error(err)
	}
}

// book is a sink in two phases.
type book struct {
	lines     []string
	committed *int
}

func (b *book) Write(_ *crossdock.Batch, written *crossdock.Written) error {
	return written.Each(func(record *crossdock.Record) error {
		text, err := record.Text()
		if err == nil && text == "1" {
			err = errors.New("one is refused")
		}
		if err == nil {
			b.lines = append(b.lines, text)
		}
		return err
	})
}

func (b *book) Snapshot() (any, error) { return len(b.lines), nil }

func (b *book) Commit(length *int) error {
	*b.committed = *length
	return nil
}

func TestASinkRefusesByRecordAndCommitsWhatItsSnapshotSays(t *testing.T) {
	committed := 0
	crossdock.RegisterTransactionalSink(func(_ config, length *int) (*book, error) {
		opened := &book{committed: &committed}
		if length != nil {
			opened.lines = make([]string, *length)
		}
		return opened, nil
	})
	sink := crossdocktest.OpenSink(t, config{})
	rejected := sink.Write("items", `0`, `1`, crossdock.Output{Value: []byte{0xFF}}, `2`)
	if len(rejected) != 2 || rejected[1].Message != "one is refused" || !strings.Contains(rejected[2].Message, "no UTF-8") {
		t.Error(rejected)
	}
	snapshot := sink.Snapshot()
	crossdocktest.OpenSink(t, config{}, snapshot).Commit(snapshot)
	if committed != 2 {
		t.Error(committed)
	}
}
