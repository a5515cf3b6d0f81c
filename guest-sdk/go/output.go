package crossdock

import (
	"encoding/json"

	"crossdock/internal/contract"
)

// JSON is a text that is known to be JSON: it is given out without another look at it.
type JSON []byte

// Output is a record that is given out. What is not said is as in the record it comes from.
type Output struct {
	// Value is anything that encoding/json can write, or a []byte, which goes on as it is. An *Object keeps its order; a
	// json.RawMessage, and a [JSON], their text.
	Value any
	// Stream is the stream it goes to.
	Stream string
	// Key is its key.
	Key string
	// NoKey says that it has none, though the record that it comes from may have one.
	NoKey bool
	// Headers are its headers. An empty map means none.
	Headers map[string]string
	// Op is what is to be done with it.
	Op Op
	// Position, in a source, is what has to be known to go on behind this record: anything that encoding/json can write.
	Position any
}

// ready is an output that is made ready for a builder.
type ready struct {
	stream  string
	form    contract.Form
	key     []byte
	headers []byte
	payload []byte
	flags   uint32
}

// prepare makes an output ready; record is what it comes from, or nil.
func prepare(output Output, record *Record) (ready, error) {
	one := ready{stream: output.Stream, flags: nowhere << 8, key: []byte(output.Key)}
	op := output.Op
	if record != nil {
		one.flags = uint32(record.index) << 8
		if one.stream == "" {
			one.stream = record.Stream()
		}
		if output.Key == "" && !output.NoKey {
			one.key = record.part(keyPart)
		}
		if output.Headers == nil {
			one.headers = record.part(headersPart)
		}
		if op == 0 {
			op = record.Op()
		}
	}
	if op == Delete {
		one.flags |= deleted
	}
	if len(output.Headers) > 0 {
		headers, err := encode(output.Headers)
		if err != nil {
			return one, err
		}
		one.headers = headers
	}
	var err error
	switch value := output.Value.(type) {
	case []byte:
		one.form, one.payload = contract.Bytes, value
	case JSON:
		one.payload = value
	case nil:
		one.payload = []byte("null")
		if op == Delete {
			one.payload = []byte("{}")
		}
	case json.RawMessage:
		if !json.Valid(value) {
			return one, Permanent("what was given out is no JSON: %s", start(value))
		}
		one.payload = value
	default:
		one.payload, err = encode(value)
	}
	return one, err
}

// asItIs is a record, made ready to go on unchanged.
func asItIs(record *Record) ready {
	flags := record.batch.wire.Index[contract.Words*record.index+flagsWord] & 0xFF
	return ready{
		stream:  record.Stream(),
		form:    record.batch.wire.Form,
		key:     record.part(keyPart),
		headers: record.part(headersPart),
		payload: record.part(payloadPart),
		flags:   uint32(record.index)<<8 | flags,
	}
}

// builder makes a batch.
type builder struct {
	wire contract.Batch
}

func newBuilder(stream string, form contract.Form) *builder {
	return &builder{contract.Batch{Stream: stream, Form: form}}
}

func (b *builder) len() int { return len(b.wire.Index) / contract.Words }

func (b *builder) push(one ready) {
	data := append(b.wire.Data, one.key...)
	key := len(data)
	data = append(data, one.headers...)
	headers := len(data)
	data = append(data, one.payload...)
	b.wire.Data = data
	b.wire.Index = append(b.wire.Index, uint32(key), uint32(headers), uint32(len(data)), one.flags)
}

// builders makes batches, one for each stream and form, in the order in which they came up.
type builders struct {
	all []*builder
}

func (b *builders) push(one ready) {
	for _, known := range b.all {
		if known.wire.Stream == one.stream && known.wire.Form == one.form {
			known.push(one)
			return
		}
	}
	made := newBuilder(one.stream, one.form)
	made.push(one)
	b.all = append(b.all, made)
}

func (b *builders) finish() []contract.Batch {
	batches := make([]contract.Batch, len(b.all))
	for i, builder := range b.all {
		batches[i] = builder.wire
	}
	return batches
}
