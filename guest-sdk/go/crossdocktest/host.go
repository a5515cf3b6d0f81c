// Package crossdocktest tests plugins without a sandbox: it drives what a program has registered as the host does, with
// tables, answers and a clock of your choice.
package crossdocktest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"crossdock/internal/contract"
)

// Asked is a request as the host got it.
type Asked struct {
	Method     string
	URL        string
	Connection string
	Headers    map[string]string
	Body       []byte
}

// Reply is what comes of a request: see [Answer] and [Refused].
type Reply struct {
	answer contract.Answer
}

// Answer is an answer of the other system. Headers are pairs of name and value.
func Answer(status int, body string, headers ...string) Reply {
	response := &contract.Response{Status: uint16(status), Body: []byte(body)}
	for pair := range slices.Chunk(headers, 2) {
		response.Headers = append(response.Headers, [2]string{strings.ToLower(pair[0]), pair[1]})
	}
	return Reply{contract.Answer{Response: response}}
}

// Refused says that no answer comes. The tag is one of denied, invalid, unauthenticated, unreachable, too-large.
func Refused(tag, text string) Reply {
	return Reply{contract.Answer{Failure: &contract.Failure{Tag: tag, Text: text}}}
}

// Logged is one line of the log.
type Logged struct {
	Level   string
	Message string
}

// Host is a host for one test. Making one replaces the last.
type Host struct {
	// Requests has what was asked for.
	Requests []Asked
	// Logs has what was told.
	Logs     []Logged
	Counters map[string]uint64
	Gauges   map[string]float64
	// Now is what the clock says.
	Now time.Time

	t      testing.TB
	answer func(Asked) Reply
	tables map[string]map[string]string
	seed   uint64
}

var levels = []string{"trace", "debug", "info", "warn", "error"}

// NewHost makes a host. Tests that use one do not run in parallel.
func NewHost(t testing.TB) *Host {
	t.Helper()
	host := &Host{
		Counters: map[string]uint64{},
		Gauges:   map[string]float64{},
		Now:      time.UnixMilli(1_767_225_600_000).UTC(),
		t:        t,
		tables:   map[string]map[string]string{},
		seed:     1,
	}
	before := contract.Imports
	t.Cleanup(func() { contract.Imports = before })
	contract.Imports = contract.Host{
		Log:     func(level uint8, message string) { host.Logs = append(host.Logs, Logged{levels[level], message}) },
		Count:   func(name string, delta uint64) { host.Counters[name] += delta },
		Gauge:   func(name string, value float64) { host.Gauges[name] = value },
		GetMany: host.getMany,
		Find:    host.find,
		Put:     host.put,
		Send:    host.send,
		SendAll: func(requests []contract.Request) (answers []contract.Answer) {
			for _, request := range requests {
				answers = append(answers, host.send(request))
			}
			return answers
		},
		NowMs:   func() uint64 { return uint64(host.Now.UnixMilli()) },
		NextU64: host.random,
	}
	return host
}

// OnHTTP says who answers requests.
func (h *Host) OnHTTP(answer func(asked Asked) Reply) { h.answer = answer }

// Table has the entries of a table, as JSON.
func (h *Host) Table(name string) map[string]string { return maps.Clone(h.tables[name]) }

// SetTable says what is in a table, as JSON.
func (h *Host) SetTable(name string, entries map[string]string) {
	h.t.Helper()
	for key, value := range entries {
		if !json.Valid([]byte(value)) {
			h.t.Fatalf("table %s: the value of %q is no JSON: %s", name, key, value)
		}
	}
	h.tables[name] = maps.Clone(entries)
}

func (h *Host) getMany(table string, keys contract.Packed) (contract.Packed, *contract.Failure) {
	var found []string
	for _, key := range contract.Unpack(keys) {
		found = append(found, h.tables[table][key])
	}
	return contract.Pack(found), nil
}

func (h *Host) find(table, prefix, after string, limit uint32) (contract.Packed, *contract.Failure) {
	var found []string
	for _, key := range slices.Sorted(maps.Keys(h.tables[table])) {
		if strings.HasPrefix(key, prefix) && key > after && len(found) < 2*int(limit) {
			found = append(found, key, h.tables[table][key])
		}
	}
	return contract.Pack(found), nil
}

func (h *Host) put(table string, entries contract.Packed) *contract.Failure {
	if h.tables[table] == nil {
		h.tables[table] = map[string]string{}
	}
	for pair := range slices.Chunk(contract.Unpack(entries), 2) {
		if pair[1] == "" {
			delete(h.tables[table], pair[0])
		} else {
			h.tables[table][pair[0]] = pair[1]
		}
	}
	return nil
}

func (h *Host) send(request contract.Request) contract.Answer {
	headers := map[string]string{}
	for _, header := range request.Headers {
		headers[header[0]] = header[1]
	}
	asked := Asked{request.Method, request.URL, request.Connection, headers, request.Body}
	h.Requests = append(h.Requests, asked)
	if h.answer == nil {
		h.t.Fatalf("nothing answers %s: say it with OnHTTP", asked.URL)
	}
	return h.answer(asked).answer
}

func (h *Host) random() uint64 {
	h.seed = h.seed*6364136223846793005 + 1442695040888963407
	return h.seed
}
