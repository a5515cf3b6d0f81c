// Command pii-mask masks and pseudonymises personal data in JSON records. It never says what it has found: neither in the
// log nor in a fault.
package main

import (
	"encoding/json"
	"slices"

	"crossdock"
)

// Mask is the plugin: rules that are ready to be used, and how often each was.
type Mask struct {
	rules   []*rule
	keyed   keyed
	isBytes string
	counts  counts
	// rewriter keeps its buffers from record to record.
	rewriter rewriter
	// perStream has the rules of streams that came up, since rules may be for some of them only.
	perStream map[string]*streamRules
}

// streamRules are those of one stream.
type streamRules struct {
	payload []*rule
	key     []*rule
}

func open(config Config) (*Mask, error) {
	rules, err := config.compile()
	if err != nil {
		return nil, err
	}
	key, err := config.readKey(rules)
	if err != nil {
		return nil, err
	}
	mask := &Mask{
		rules:     rules,
		keyed:     newKeyed(key),
		isBytes:   config.Bytes,
		counts:    counts{},
		perStream: map[string]*streamRules{},
	}
	mask.rewriter = rewriter{keyed: &mask.keyed, counts: mask.counts}
	return mask, nil
}

// of gives the rules of a stream.
func (m *Mask) of(stream string) *streamRules {
	known := m.perStream[stream]
	if known != nil {
		return known
	}
	known = new(streamRules)
	for _, rule := range m.rules {
		if len(rule.streams) > 0 && !slices.Contains(rule.streams, stream) {
			continue
		}
		if rule.onKey {
			known.key = append(known.key, rule)
		} else {
			known.payload = append(known.payload, rule)
		}
	}
	m.perStream[stream] = known
	return known
}

// Map masks one record.
func (m *Mask) Map(record *crossdock.Record, out *crossdock.Out) error {
	rules := m.of(record.Stream())
	output, changed := crossdock.Output{Value: crossdock.JSON(record.Bytes())}, false
	switch {
	case len(rules.payload) == 0:
		if !record.IsJSON() {
			output.Value = record.Bytes()
		}
	case record.IsJSON():
		// What json.Valid says is not told: it would show some of the data.
		if !json.Valid(record.Bytes()) {
			return crossdock.Permanent("the payload is no JSON, so nothing in it can be masked")
		}
		text, masked := m.rewriter.mask(record.Bytes(), rules.payload)
		output.Value, changed = crossdock.JSON(text), masked
	case m.isBytes == "pass":
		output.Value = record.Bytes()
	default:
		return crossdock.Permanent("the payload is not of the form `json`, so nothing in it can be masked; `bytes: pass` lets it through")
	}
	if key := record.Key(); key != "" && len(rules.key) > 0 {
		masked, isGone, ok := m.maskKey(key, rules.key)
		if ok {
			changed = true
			output.Key = masked
			output.NoKey = isGone
		}
	}
	if !changed {
		out.Pass()
		return nil
	}
	out.Give(output)
	return nil
}

// maskKey masks the key of a record.
func (m *Mask) maskKey(key string, rules []*rule) (masked string, isGone, ok bool) {
	result := m.rewriter.leaf(leaf{text: key}, rules)
	switch result.what {
	case unchanged:
		return "", false, false
	case replaced:
		return result.text, false, true
	default:
		return "", true, true
	}
}

// Close tells what was done, by rule: how often, and nothing of what.
func (m *Mask) Close() error {
	if err := m.Prepare(nil); err != nil {
		return err
	}
	for _, rule := range m.rules {
		if count := m.counts[rule.label]; count > 0 {
			crossdock.Infof("%s: %d values masked", rule.label, count)
		}
	}
	return nil
}

// counts has the number of masked values by the label of their rule.
type counts map[string]uint64

// Prepare adds what was masked since to the dashboard's counter.
func (m *Mask) Prepare(*crossdock.Batch) error {
	if m.rewriter.since > 0 {
		crossdock.Count("pii_masked", m.rewriter.since)
		m.rewriter.since = 0
	}
	return nil
}

func init() { crossdock.RegisterTransformer(open) }

func main() {}
