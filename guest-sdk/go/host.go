package crossdock

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"crossdock/internal/contract"
)

// Levels of the log, as the contract numbers them.
const (
	levelTrace uint8 = iota
	levelDebug
	levelInfo
	levelWarn
	levelError
)

// Tracef tells the operator something. The host adds flow, stage and plugin, and limits size and rate.
func Tracef(format string, args ...any) { logf(levelTrace, format, args) }

// Debugf tells the operator something.
func Debugf(format string, args ...any) { logf(levelDebug, format, args) }

// Infof tells the operator something.
func Infof(format string, args ...any) { logf(levelInfo, format, args) }

// Warnf tells the operator something.
func Warnf(format string, args ...any) { logf(levelWarn, format, args) }

// Errorf tells the operator something. For an error that a call returns, see [Permanent] and its siblings.
func Errorf(format string, args ...any) { logf(levelError, format, args) }

func logf(level uint8, format string, args []any) {
	contract.Imports.Log(level, fmt.Sprintf(format, args...))
}

// Count adds to a counter of the dashboard. Its name has a-z, 0-9 and _.
func Count(name string, delta uint64) { contract.Imports.Count(name, delta) }

// Gauge sets a number of the dashboard.
func Gauge(name string, value float64) { contract.Imports.Gauge(name, value) }

// Now is the host's time, to the millisecond. It is repeated when a cassette is played, which that of package time is not.
func Now() time.Time { return time.UnixMilli(int64(contract.Imports.NowMs())).UTC() }

// RandomUint64 is a random number of the host.
func RandomUint64() uint64 { return contract.Imports.NextU64() }

// Table is a keyed map that flows share, by its name. Values are anything that encoding/json can write. Ask for many keys at
// once: a call is what costs.
type Table string

// Entry is one entry of a table.
type Entry struct {
	Key   string
	Value json.RawMessage
}

// mostEntries is how many entries one call of the contract gives.
const mostEntries = 1000

func tableFault(failure *contract.Failure) error {
	switch {
	case failure == nil:
		return nil
	case failure.Tag == "denied":
		return &Fault{Kind: KindConfig, Message: failure.Text}
	case failure.Tag == "failed":
		return &Fault{Kind: KindTransient, Message: failure.Text}
	default:
		return &Fault{Kind: KindPermanent, Message: failure.Text}
	}
}

// Get reads the value of a key; ok tells whether there is one.
func (t Table) Get(key string, value any) (ok bool, err error) {
	found, err := t.GetMany([]string{key})
	raw, ok := found[key]
	if err != nil || !ok {
		return false, err
	}
	if err := json.Unmarshal(raw, value); err != nil {
		return true, Permanent("table %s has another value under %q: %w", string(t), key, err)
	}
	return true, nil
}

// GetMany gives the values of those keys that have one.
func (t Table) GetMany(keys []string) (map[string]json.RawMessage, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	packed, failure := contract.Imports.GetMany(string(t), contract.Pack(keys))
	if failure != nil {
		return nil, tableFault(failure)
	}
	found := make(map[string]json.RawMessage, len(keys))
	for i, text := range contract.Unpack(packed) {
		if text != "" && i < len(keys) {
			found[keys[i]] = json.RawMessage(text)
		}
	}
	return found, nil
}

// Find gives up to limit entries whose key starts with prefix and is greater than after, in the order of their keys. A limit
// of 0, or one of more than 1000, is 1000.
func (t Table) Find(prefix, after string, limit int) ([]Entry, error) {
	if limit <= 0 || limit > mostEntries {
		limit = mostEntries
	}
	packed, failure := contract.Imports.Find(string(t), prefix, after, uint32(limit))
	if failure != nil {
		return nil, tableFault(failure)
	}
	var entries []Entry
	for pair := range slices.Chunk(contract.Unpack(packed), 2) {
		if len(pair) == 2 {
			entries = append(entries, Entry{pair[0], json.RawMessage(pair[1])})
		}
	}
	return entries, nil
}

// Put stores a value.
func (t Table) Put(key string, value any) error { return t.PutMany(map[string]any{key: value}) }

// PutMany stores values.
func (t Table) PutMany(entries map[string]any) error {
	texts := make([]string, 0, 2*len(entries))
	// In one order, so that a cassette can be played.
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		value, err := encode(entries[key])
		if err != nil {
			return err
		}
		texts = append(texts, key, string(value))
	}
	return t.put(texts)
}

// Remove removes entries.
func (t Table) Remove(keys ...string) error {
	texts := make([]string, 0, 2*len(keys))
	for _, key := range keys {
		texts = append(texts, key, "")
	}
	return t.put(texts)
}

func (t Table) put(texts []string) error {
	if len(texts) == 0 {
		return nil
	}
	return tableFault(contract.Imports.Put(string(t), contract.Pack(texts)))
}
