package crossdock

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"time"

	"crossdock/internal/contract"
)

// Stream says what a source can read.
type Stream struct {
	Name string
	// Schema is the JSON Schema of the payload: a json.RawMessage, or anything that encoding/json can write. Nil: not known.
	Schema any
	// Key has the fields that identify a record.
	Key []string
	// Incremental says whether a later run reads only what has changed since.
	Incremental bool
}

// Source reads records.
type Source interface {
	// Next gives the next record, with its Stream and the Position behind it. io.EOF is the end; [Idle]: nothing now;
	// [Unreadable]: input that is no record. After any other error it is called again when the host tries again.
	Next() (Output, error)
}

// Committer is told that all up to a position is durable at every sink. It may come twice, and it is optional.
type Committer[P any] interface {
	Committed(position *P) error
}

// Idle says that there is nothing now: the host asks again after so long.
func Idle(wait time.Duration) error { return &idle{wait} }

type idle struct{ wait time.Duration }

func (i *idle) Error() string { return "nothing now" }

// Unreadable says that there is input that is no record. It counts as read and becomes a dead letter.
func Unreadable(data []byte, why error, position any) error { return &unreadable{data, why, position} }

type unreadable struct {
	data     []byte
	why      error
	position any
}

func (u *unreadable) Error() string { return u.why.Error() }

func (u *unreadable) Unwrap() error { return u.why }

// RegisterSource registers a source. position is that of the last record that was taken in an earlier life, nil at the start:
// the source goes on behind it. Records without a position are counted from the last one that has it, and read over.
func RegisterSource[C, P any, T Source](open func(config C, position *P) (T, error), given ...Option[C]) {
	stage := &source[C, P, T]{open: open}
	stage.options = optionsOf(given)
	contract.Registered.Source = stage
}

// place is the snapshot of a source.
type place struct {
	At   json.RawMessage `json:"at,omitempty"`
	Skip int             `json:"skip,omitempty"`
}

// source is the contract's.
type source[C, P any, T Source] struct {
	life[C, T]
	open   func(config C, position *P) (T, error)
	reader *reader
}

func (s *source[C, P, T]) Check(config string) *contract.Fault { return s.check(config, nil) }

func (s *source[C, P, T]) Streams(config string) (infos []contract.StreamInfo, fault *contract.Fault) {
	fault = wireFault(guarded(func() error {
		decoded, err := decodeConfig[C](config)
		if err != nil || s.options.streams == nil {
			return err
		}
		streams, err := s.options.streams(decoded)
		if err != nil {
			return err
		}
		for _, stream := range streams {
			info := contract.StreamInfo{Name: stream.Name, Key: stream.Key, Incremental: stream.Incremental}
			if stream.Schema != nil {
				schema, err := encode(stream.Schema)
				if err != nil {
					return err
				}
				info.Schema = string(schema)
			}
			infos = append(infos, info)
		}
		return nil
	}))
	return infos, fault
}

func placeOf[P any](known []byte) (place, *P, error) {
	at, err := decodeSnapshot[place](known)
	if at == nil || err != nil {
		return place{}, nil, err
	}
	position, err := decodeSnapshot[P](at.At)
	return *at, position, err
}

func (s *source[C, P, T]) Open(config string, known []byte) *contract.Fault {
	return s.life.open(config, func(config C) (stage T, err error) {
		at, position, err := placeOf[P](known)
		if err != nil {
			return stage, err
		}
		if stage, err = s.open(config, position); err != nil {
			return stage, err
		}
		s.reader = &reader{next: stage.Next, place: at, over: at.Skip}
		return stage, nil
	})
}

func (s *source[C, P, T]) Read(budget contract.Budget) (outcome contract.Outcome, fault *contract.Fault) {
	fault = s.with(func(T) (err error) {
		outcome, err = s.reader.read(budget)
		return err
	})
	return outcome, fault
}

func (s *source[C, P, T]) Snapshot() (known []byte, fault *contract.Fault) {
	fault = s.with(func(T) (err error) {
		if s.reader.place.At != nil || s.reader.place.Skip > 0 {
			known, err = encodeSnapshot(s.reader.place)
		}
		return err
	})
	return known, fault
}

func (s *source[C, P, T]) Committed(known []byte) *contract.Fault {
	return s.with(func(stage T) error {
		committer, ok := any(stage).(Committer[P])
		if !ok {
			return nil
		}
		_, position, err := placeOf[P](known)
		if err != nil {
			return err
		}
		return committer.Committed(position)
	})
}

// reader takes what a source gives, one after the other, and remembers how far: the last position, and how many items came
// behind it without one.
type reader struct {
	next  func() (Output, error)
	place place
	// over is how many items are still to be read over.
	over int
	// waiting is the next item. It is there until it is taken.
	waiting *item
	// failed is told at the next call, since the last one had something to give.
	failed error
}

// item is one that a source has given: an output, or one of the errors that are no failures.
type item struct {
	end        bool
	idle       *idle
	unreadable *unreadable
	ready      ready
	at         json.RawMessage
}

func (r *reader) peek() (*item, error) {
	if failed := r.failed; failed != nil {
		r.failed = nil
		return nil, failed
	}
	for r.waiting == nil {
		one, err := r.ask()
		if err != nil {
			return nil, err
		}
		if r.over > 0 && !one.end && one.idle == nil {
			r.over--
			continue
		}
		r.waiting = one
	}
	return r.waiting, nil
}

func (r *reader) ask() (one *item, err error) {
	var output Output
	err = guarded(func() (err error) {
		output, err = r.next()
		return err
	})
	one = new(item)
	position := output.Position
	switch {
	case errors.Is(err, io.EOF):
		one.end = true
		return one, nil
	case errors.As(err, &one.idle):
		return one, nil
	case errors.As(err, &one.unreadable):
		position = one.unreadable.position
	case err != nil:
		return nil, err
	default:
		if one.ready, err = prepare(output, nil); err != nil {
			return nil, err
		}
		if one.ready.stream == "" {
			return nil, Permanent("a record was given out without a `Stream`")
		}
	}
	one.at, err = encodeSnapshot(position)
	return one, err
}

func (r *reader) take() {
	one := r.waiting
	r.waiting = nil
	switch {
	case one.end || one.idle != nil:
	case one.at != nil:
		r.place = place{At: one.at}
	default:
		r.place.Skip++
	}
}

func (r *reader) read(budget contract.Budget) (contract.Outcome, error) {
	until := time.Now().Add(time.Duration(budget.Millis) * time.Millisecond)
	page := new(page)
	for page.len() < int(budget.Records) {
		one, err := r.peek()
		if err != nil {
			if page.len() == 0 {
				return contract.Outcome{}, err
			}
			r.failed = err
			break
		}
		if page.len() == 0 && one.end {
			return contract.Outcome{End: true}, nil
		}
		if page.len() == 0 && one.idle != nil {
			r.take()
			millis := uint32(min(max(one.idle.wait.Milliseconds(), 0), math.MaxUint32))
			return contract.Outcome{Idle: &millis}, nil
		}
		if one.end || one.idle != nil || !page.add(one, budget) {
			break
		}
		r.take()
		if !time.Now().Before(until) {
			break
		}
	}
	return page.finish(), nil
}

// page is what one read gives.
type page struct {
	builder    *builder
	unreadable []contract.Unreadable
}

func (p *page) len() int {
	count := len(p.unreadable)
	if p.builder != nil {
		count += p.builder.len()
	}
	return count
}

// add takes an item, or says that it is for the next page.
func (p *page) add(one *item, budget contract.Budget) bool {
	if one.unreadable != nil {
		p.unreadable = append(p.unreadable, contract.Unreadable{Data: one.unreadable.data, Fault: wireFault(one.unreadable.why)})
		return true
	}
	if p.builder == nil {
		p.builder = newBuilder(one.ready.stream, one.ready.form)
	} else {
		wire := p.builder.wire
		isFull := len(wire.Data)+len(one.ready.payload) > int(budget.Bytes)
		if wire.Stream != one.ready.stream || wire.Form != one.ready.form || isFull {
			return false
		}
	}
	p.builder.push(one.ready)
	return true
}

func (p *page) finish() contract.Outcome {
	if p.builder == nil {
		p.builder = newBuilder("records", contract.JSON)
	}
	return contract.Outcome{Records: p.builder.wire, Unreadable: p.unreadable}
}
