package crossdock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"crossdock/internal/contract"
)

// Op is what is to be done with a record.
type Op uint8

// What is to be done. In an Output, the zero value is that of the record it comes from, or Upsert.
const (
	Upsert Op = 1 + iota
	Delete
)

// String is the name.
func (o Op) String() string {
	if o == Delete {
		return "delete"
	}
	return "upsert"
}

// deleted is the bit of a record's fourth word.
const deleted = 1

// nowhere is the origin of a record that came from no record of the batch.
const nowhere = 0xFFFFFF

// Batch has the records of one stream.
type Batch struct {
	wire    contract.Batch
	records []Record
}

func newBatch(wire contract.Batch) *Batch {
	batch := &Batch{wire: wire, records: make([]Record, len(wire.Index)/contract.Words)}
	for i := range batch.records {
		batch.records[i] = Record{batch: batch, index: i}
	}
	return batch
}

// Stream is the name of the stream.
func (b *Batch) Stream() string { return b.wire.Stream }

// Len is the number of records.
func (b *Batch) Len() int { return len(b.records) }

// Record is one of them.
func (b *Batch) Record(index int) *Record { return &b.records[index] }

// Records has all of them, in their order.
func (b *Batch) Records() []*Record {
	all := make([]*Record, len(b.records))
	for i := range b.records {
		all[i] = &b.records[i]
	}
	return all
}

// Record is one record of a batch. Nothing of it is read before it is asked for.
type Record struct {
	batch *Batch
	index int
}

// Parts of a record, as its words have them.
const (
	keyPart = iota
	headersPart
	payloadPart
	flagsWord
)

func (r *Record) part(word int) []byte {
	at := contract.Words*r.index + word
	index := r.batch.wire.Index
	start := uint32(0)
	switch {
	case word > 0:
		start = index[at-1]
	case r.index > 0:
		start = index[at-2]
	}
	// The host reads nothing that is appended here.
	return r.batch.wire.Data[start:index[at]:index[at]]
}

// Index is its position in the batch.
func (r *Record) Index() int { return r.index }

// Stream is the name of its stream.
func (r *Record) Stream() string { return r.batch.wire.Stream }

// IsJSON tells whether the payload is one JSON text; otherwise it is anything else.
func (r *Record) IsJSON() bool { return r.batch.wire.Form == contract.JSON }

// Key is its key, or empty.
func (r *Record) Key() string { return string(r.part(keyPart)) }

// Op is what is to be done with it.
func (r *Record) Op() Op {
	if r.batch.wire.Index[contract.Words*r.index+flagsWord]&0xFF == deleted {
		return Delete
	}
	return Upsert
}

// Headers are its headers.
func (r *Record) Headers() map[string]string {
	text := r.part(headersPart)
	headers := map[string]string{}
	if len(text) > 0 {
		// The host has made them: an object of texts.
		_ = json.Unmarshal(text, &headers)
	}
	return headers
}

// Bytes is the payload as it came. It is valid until the call ends, and must not be changed.
func (r *Record) Bytes() []byte { return r.part(payloadPart) }

// Text is the payload, which has to be UTF-8.
func (r *Record) Text() (string, error) {
	payload := r.Bytes()
	if !utf8.Valid(payload) {
		return "", Permanent("the payload is no UTF-8 text")
	}
	return string(payload), nil
}

// Decode reads the payload into a value, as json.Unmarshal does, except that a number that goes into an interface becomes a
// json.Number, which keeps all of its digits.
func (r *Record) Decode(value any) error {
	decoder := json.NewDecoder(bytes.NewReader(r.Bytes()))
	decoder.UseNumber()
	if err := decoder.Decode(value); err != nil {
		return payloadFault(err)
	}
	if decoder.More() {
		return Permanent("the payload is no JSON: there is something behind it")
	}
	return nil
}

// Object is the payload, which has to be a JSON object. It is read only as far as the plugin looks, and the rest goes on as
// it is written.
func (r *Record) Object() (*Object, error) { return ParseObject(r.Bytes()) }

func payloadFault(err error) *Fault {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return Permanent("expected %s, found a JSON %s", typeName(wrong), wrong.Value).At(pointer(wrong.Field))
	}
	return Permanent("the payload is no JSON: %w", err)
}

// GoString shows a record in a test.
func (r *Record) GoString() string {
	return fmt.Sprintf("Record(%q, %d, key %q)", r.Stream(), r.index, r.Key())
}
