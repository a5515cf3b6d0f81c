// A source, a transformer and a sink that use every part of the contract, so that each crosses the sandbox's border once.
package main

import (
	"io"
	"time"

	"crossdock"
)

type Config struct {
	Connection crossdock.Connection `json:"connection"`
}

// Source gives one of everything that a source can say.
type Source struct {
	next   int
	waited bool
}

func openSource(_ Config, position *int) (*Source, error) {
	source := new(Source)
	if position != nil {
		source.next = *position
	}
	return source, nil
}

func streams(Config) ([]crossdock.Stream, error) {
	schema := map[string]any{"type": "object"}
	return []crossdock.Stream{{Name: "a", Schema: schema, Key: []string{"n", "m"}, Incremental: true}, {Name: "b"}}, nil
}

func (s *Source) Next() (crossdock.Output, error) {
	position := s.next + 1
	var output crossdock.Output
	var err error
	switch s.next {
	case 0:
		output = crossdock.Output{Value: map[string]string{"n": "<ä>"}, Stream: "a", Key: "ask", Headers: map[string]string{"h": "ü"}}
	case 1:
		err = crossdock.Unreadable([]byte("raw?"), crossdock.Permanent("this is no record").At("input:2"), position)
	case 2:
		if !s.waited {
			s.waited = true
			return output, crossdock.Transient("not yet").After(20 * time.Millisecond)
		}
		output = crossdock.Output{Stream: "a", Key: "gone", Op: crossdock.Delete}
	case 3:
		s.next++
		return output, crossdock.Idle(5 * time.Millisecond)
	case 4:
		output = crossdock.Output{Value: []byte{0, 1, 0xFF}, Stream: "b", Key: "raw"}
	case 5, 6, 7:
		output = crossdock.Output{Value: s.next, Stream: "a", Key: "filter"}
	case 8:
		output = crossdock.Output{Value: "bad", Stream: "a", Key: "reject"}
	default:
		return output, io.EOF
	}
	s.next++
	output.Position = position
	return output, err
}

// Transformer asks the host for everything that it offers.
type Transformer struct{ shop crossdock.Connection }

func openTransformer(config Config) (*Transformer, error) {
	return &Transformer{config.Connection}, nil
}

func (t *Transformer) Map(record *crossdock.Record, out *crossdock.Out) error {
	switch record.Key() {
	case "ask":
		answers, err := t.ask()
		if err != nil {
			return err
		}
		answers["headers"] = record.Headers()
		out.Value(answers)
		out.Give(crossdock.Output{Value: "second", Stream: "others", NoKey: true, Headers: map[string]string{}})
	case "filter":
		var n int
		if err := record.Decode(&n); err != nil {
			return err
		}
		out.Filter("%s", []string{"even", "odd"}[n%2])
	case "reject":
		return crossdock.Permanent("it is refused").At("/x")
	case "raw":
		out.Value(map[string]any{"bytes": record.Bytes(), "json": record.IsJSON()})
	default:
		out.Pass()
	}
	return nil
}

func (t *Transformer) ask() (map[string]any, error) {
	response, err := t.shop.Send(crossdock.Request{
		Method: "POST", URL: "/echo-header", Header: map[string]string{"x-mine": "1"}, Body: []byte("body"), Timeout: time.Minute,
	})
	if err != nil {
		return nil, err
	}
	answers := map[string]any{
		"status": response.Status, "body": string(response.Body), "seen": response.Header("X-Seen"),
	}
	all := t.shop.SendAll([]crossdock.Request{{Method: "GET", URL: "/plain"}, {Method: "GET", URL: "http://elsewhere.example/"}})
	answers["first"] = string(all[0].Body)
	if fault, ok := all[1].Failure.(*crossdock.Fault); ok {
		answers["second"] = fault.Kind.String()
	}
	_, err = crossdock.Connection("nobody").Get("/")
	if fault, ok := err.(*crossdock.Fault); ok {
		answers["nobody"] = fault.Kind.String()
	}
	seen := crossdock.Table("seen")
	if err := seen.PutMany(map[string]any{"a1": 1, "a2": []string{"ä"}, "b": true}); err != nil {
		return nil, err
	}
	many, err := seen.GetMany([]string{"b", "none", "a2"})
	if err != nil {
		return nil, err
	}
	answers["many"] = many
	if err := seen.Remove("b"); err != nil {
		return nil, err
	}
	found, err := seen.Find("", "a1", 10)
	if err != nil {
		return nil, err
	}
	answers["found"] = found
	receipts, err := crossdock.Table("receipts").Find("", "", 0)
	if err != nil {
		return nil, err
	}
	answers["receipts"] = receipts
	if _, err = crossdock.Table("forbidden").Get("x", nil); err != nil {
		answers["forbidden"] = err.(*crossdock.Fault).Kind.String()
	}
	answers["now"] = crossdock.Now().Year() > 2000
	answers["random"] = crossdock.RandomUint64() != crossdock.RandomUint64()
	crossdock.Count("asked", 1)
	crossdock.Gauge("level", 1.5)
	crossdock.Debugf("a line for those who look closely")
	return answers, nil
}

// Sink refuses one record at first, and has a receipt for each.
type Sink struct {
	tried   bool
	written int
}

func openSink(_ Config, written *int) (*Sink, error) {
	sink := new(Sink)
	if written != nil {
		sink.written = *written
	}
	return sink, nil
}

func (s *Sink) Write(_ *crossdock.Batch, written *crossdock.Written) error {
	return written.Each(func(record *crossdock.Record) error {
		switch record.Key() {
		case "bad":
			return crossdock.Permanent("never").At("/bad")
		case "later":
			if !s.tried {
				s.tried = true
				return crossdock.Transient("later").After(5 * time.Millisecond)
			}
		}
		s.written++
		written.Receipt(crossdock.Output{Value: map[string]int{"id": 100 + s.written}}, record)
		return nil
	})
}

func (s *Sink) Snapshot() (any, error) { return s.written, nil }

func (s *Sink) Commit(written *int) error {
	crossdock.Infof("committed %d", *written)
	return nil
}

func (s *Sink) Close() error { return crossdock.Permanent("nobody minds") }

func init() {
	crossdock.RegisterSource(openSource, crossdock.WithStreams(streams))
	crossdock.RegisterTransformer(openTransformer)
	crossdock.RegisterTransactionalSink(openSink)
}

func main() {}
