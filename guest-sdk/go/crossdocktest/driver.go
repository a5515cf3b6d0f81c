package crossdocktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"crossdock"
	"crossdock/internal/contract"
)

// Given is a record that came out. Its value is JSON, or bytes.
type Given struct {
	Stream  string
	Key     string
	Delete  bool
	Headers string
	Value   string
}

func recordsOf(batch contract.Batch) (records []Given) {
	start := uint32(0)
	for i := 0; i < len(batch.Index); i += contract.Words {
		key, headers, payload := batch.Index[i], batch.Index[i+1], batch.Index[i+2]
		records = append(records, Given{
			Stream:  batch.Stream,
			Key:     string(batch.Data[start:key]),
			Headers: string(batch.Data[key:headers]),
			Value:   string(batch.Data[headers:payload]),
			Delete:  batch.Index[i+3]&0xFF == 1,
		})
		start = payload
	}
	return records
}

// batchOf packs values: strings of JSON, or a crossdock.Output.
func batchOf(t testing.TB, stream string, values []any) contract.Batch {
	t.Helper()
	batch := contract.Batch{Stream: stream}
	for i, value := range values {
		output, ok := value.(crossdock.Output)
		if text, isText := value.(string); isText {
			output, ok = crossdock.Output{Value: json.RawMessage(text)}, true
		}
		if !ok {
			t.Fatalf("record %d: a record is given as a string of JSON or as a crossdock.Output", i)
		}
		push(t, &batch, output)
	}
	return batch
}

func push(t testing.TB, batch *contract.Batch, output crossdock.Output) {
	t.Helper()
	data := append(batch.Data, output.Key...)
	key := uint32(len(data))
	if len(output.Headers) > 0 {
		data = append(data, encode(t, output.Headers)...)
	}
	headers := uint32(len(data))
	switch value := output.Value.(type) {
	case []byte:
		batch.Form = contract.Bytes
		data = append(data, value...)
	case json.RawMessage:
		data = append(data, value...)
	default:
		data = append(data, encode(t, value)...)
	}
	flags := uint32(0xFFFFFF << 8)
	if output.Op == crossdock.Delete {
		flags |= 1
	}
	batch.Data = data
	batch.Index = append(batch.Index, key, headers, uint32(len(data)), flags)
}

func encode(t testing.TB, value any) []byte {
	t.Helper()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(text.Bytes())
}

// errorOf is the fault of the contract as an error, or nil.
func errorOf(fault *contract.Fault) error {
	if fault == nil {
		return nil
	}
	return faultOf(fault)
}

func faultOf(fault *contract.Fault) *crossdock.Fault {
	said := &crossdock.Fault{
		Kind:     crossdock.Kind(fault.Kind),
		Message:  fault.Message,
		Location: fault.Location,
		Field:    fault.Field,
		Advice:   fault.Advice,
	}
	if fault.RetryAfter != nil {
		said.RetryAfter = time.Duration(*fault.RetryAfter) * time.Millisecond
	}
	return said
}

func rejections(rejected []contract.Rejection) map[int]*crossdock.Fault {
	faults := map[int]*crossdock.Fault{}
	for _, one := range rejected {
		faults[int(one.Index)] = faultOf(one.Fault)
	}
	return faults
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Stage has what all kinds share. Opening another one ends it, as there is one instance in the sandbox.
type Stage struct {
	t    testing.TB
	life contract.Life
}

// Snapshot is the contract's: bytes. Another stage can be opened from it.
func (s Stage) Snapshot() []byte {
	s.t.Helper()
	known, fault := s.life.Snapshot()
	must(s.t, errorOf(fault))
	return known
}

// Close is the last call.
func (s Stage) Close() { s.life.Close() }

func snapshotOf(from []([]byte)) []byte {
	if len(from) == 0 {
		return nil
	}
	return from[0]
}

// Transformer is a transformer that is open.
type Transformer struct {
	Stage
	// Stateful tells how it was registered.
	Stateful bool
	plugin   contract.Transformer
}

// OpenTransformer opens the transformer of this program, if need be from a snapshot. The config is anything that
// encoding/json can write.
func OpenTransformer(t testing.TB, config any, snapshot ...[]byte) *Transformer {
	t.Helper()
	opened, err := TryOpenTransformer(t, config, snapshot...)
	must(t, err)
	return opened
}

// TryOpenTransformer is the same for one that may refuse.
func TryOpenTransformer(t testing.TB, config any, snapshot ...[]byte) (*Transformer, error) {
	t.Helper()
	plugin := contract.Registered.Transformer
	if plugin == nil {
		t.Fatal("this program registers no transformer")
	}
	mode, fault := plugin.Open(string(encode(t, config)), snapshotOf(snapshot))
	return &Transformer{Stage{t, plugin}, mode == contract.Stateful, plugin}, errorOf(fault)
}

// Applied is what became of a batch.
type Applied struct {
	// How is `pass`, `select` or `replace`.
	How     string
	Records []Given
	// Rejected has the faults by the position of their record.
	Rejected map[int]*crossdock.Fault
	// Filtered has the reasons with their counts.
	Filtered map[string]int

	t testing.TB
}

// Gives fails the test unless these values came out, in this order.
func (a *Applied) Gives(values ...string) {
	a.t.Helper()
	var given []string
	for _, record := range a.Records {
		given = append(given, record.Value)
	}
	if strings.Join(given, "\n") != strings.Join(values, "\n") {
		a.t.Errorf("it gives\n%s\nand not\n%s\nrejected: %v", strings.Join(given, "\n"), strings.Join(values, "\n"), a.Rejected)
	}
}

// Apply applies a batch. A record is a string of JSON or a crossdock.Output.
func (p *Transformer) Apply(stream string, records ...any) *Applied {
	p.t.Helper()
	batch := batchOf(p.t, stream, records)
	applied, fault := p.plugin.Apply(batch)
	must(p.t, errorOf(fault))
	done := &Applied{Rejected: rejections(applied.Rejected), Filtered: map[string]int{}, t: p.t}
	for _, tally := range applied.Filtered {
		done.Filtered[tally.Reason] = int(tally.Count)
	}
	all := recordsOf(batch)
	switch applied.How {
	case contract.Pass:
		done.How, done.Records = "pass", all
	case contract.Select:
		done.How = "select"
		for _, index := range applied.Selected {
			done.Records = append(done.Records, all[index])
		}
	default:
		done.How = "replace"
		for _, batch := range applied.Batches {
			done.Records = append(done.Records, recordsOf(batch)...)
		}
	}
	return done
}

// Finish ends the input and gives what was held back.
func (p *Transformer) Finish() (records []Given) {
	p.t.Helper()
	batches, fault := p.plugin.Finish()
	must(p.t, errorOf(fault))
	for _, batch := range batches {
		records = append(records, recordsOf(batch)...)
	}
	return records
}

// Source is a source that is open.
type Source struct {
	Stage
	plugin contract.Source
}

// OpenSource opens the source of this program, if need be from a snapshot.
func OpenSource(t testing.TB, config any, snapshot ...[]byte) *Source {
	t.Helper()
	opened, err := TryOpenSource(t, config, snapshot...)
	must(t, err)
	return opened
}

// TryOpenSource is the same for one that may refuse.
func TryOpenSource(t testing.TB, config any, snapshot ...[]byte) (*Source, error) {
	t.Helper()
	plugin := contract.Registered.Source
	if plugin == nil {
		t.Fatal("this program registers no source")
	}
	fault := plugin.Open(string(encode(t, config)), snapshotOf(snapshot))
	return &Source{Stage{t, plugin}, plugin}, errorOf(fault)
}

// Budget says how much one read may give. A zero is what a host usually gives.
type Budget struct {
	Records int
	Bytes   int
}

// Unreadable is input that is no record.
type Unreadable struct {
	Data  []byte
	Fault *crossdock.Fault
}

// Page is what one read gave.
type Page struct {
	Records    []Given
	Unreadable []Unreadable
	// Idle: nothing now.
	Idle *time.Duration
	End  bool
}

// Read reads one page.
func (s *Source) Read(budget Budget) Page {
	s.t.Helper()
	page, err := s.TryRead(budget)
	must(s.t, err)
	return page
}

// TryRead is the same for one that may fail.
func (s *Source) TryRead(budget Budget) (Page, error) {
	wire := contract.Budget{Records: 1000, Bytes: 1 << 20, Millis: 1000}
	if budget.Records > 0 {
		wire.Records = uint32(budget.Records)
	}
	if budget.Bytes > 0 {
		wire.Bytes = uint32(budget.Bytes)
	}
	outcome, fault := s.plugin.Read(wire)
	if fault != nil || outcome.End {
		return Page{End: outcome.End}, errorOf(fault)
	}
	if outcome.Idle != nil {
		wait := time.Duration(*outcome.Idle) * time.Millisecond
		return Page{Idle: &wait}, nil
	}
	page := Page{Records: recordsOf(outcome.Records)}
	for _, one := range outcome.Unreadable {
		page.Unreadable = append(page.Unreadable, Unreadable{one.Data, faultOf(one.Fault)})
	}
	return page, nil
}

// Committed says that all up to a snapshot is durable.
func (s *Source) Committed(snapshot []byte) {
	s.t.Helper()
	must(s.t, errorOf(s.plugin.Committed(snapshot)))
}

// ReadAll gives all records of the source of this program. It is read once in one go, and once with a new instance from a
// snapshot behind every record: both have to give the same.
func ReadAll(t testing.TB, config any) []Given {
	t.Helper()
	var whole, resumed []Given
	source := OpenSource(t, config)
	for page := source.Read(Budget{}); !page.End && page.Idle == nil; page = source.Read(Budget{}) {
		whole = append(whole, page.Records...)
	}
	var snapshots [][]byte
	for {
		source := OpenSource(t, config, snapshots...)
		page := source.Read(Budget{Records: 1})
		if page.End || page.Idle != nil {
			break
		}
		resumed = append(resumed, page.Records...)
		snapshots = [][]byte{source.Snapshot()}
	}
	if fmt.Sprint(whole) != fmt.Sprint(resumed) {
		t.Fatalf("resumed behind every record it gives\n%v\nand in one go\n%v", resumed, whole)
	}
	return whole
}

// Sink is a sink that is open.
type Sink struct {
	Stage
	plugin contract.Sink
}

// OpenSink opens the sink of this program, if need be from a snapshot.
func OpenSink(t testing.TB, config any, snapshot ...[]byte) *Sink {
	t.Helper()
	opened, err := TryOpenSink(t, config, snapshot...)
	must(t, err)
	return opened
}

// TryOpenSink is the same for one that may refuse.
func TryOpenSink(t testing.TB, config any, snapshot ...[]byte) (*Sink, error) {
	t.Helper()
	plugin := contract.Registered.Sink
	if plugin == nil {
		t.Fatal("this program registers no sink")
	}
	fault := plugin.Open(string(encode(t, config)), snapshotOf(snapshot))
	return &Sink{Stage{t, plugin}, plugin}, errorOf(fault)
}

// Write writes a batch and gives the faults of the refused records by their position. A record is a string of JSON or a
// crossdock.Output.
func (s *Sink) Write(stream string, records ...any) map[int]*crossdock.Fault {
	s.t.Helper()
	written, fault := s.plugin.Write(batchOf(s.t, stream, records))
	must(s.t, errorOf(fault))
	return rejections(written.Rejected)
}

// Finish ends the input.
func (s *Sink) Finish() {
	s.t.Helper()
	must(s.t, errorOf(s.plugin.Finish()))
}

// Commit makes everything up to a snapshot visible.
func (s *Sink) Commit(snapshot []byte) {
	s.t.Helper()
	must(s.t, errorOf(s.plugin.Commit(snapshot)))
}
