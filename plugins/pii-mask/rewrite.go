package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// rewriter masks values in a JSON text and leaves the rest of it as it is written.
type rewriter struct {
	keyed  *keyed
	counts counts
	// since is how many values were masked since it was told.
	since uint64

	rules []*rule
	text  []byte
	// out has what is written, of the text up to `copied`.
	out    []byte
	copied int
	states []state
}

// mask gives the text with all that the rules are about masked. It has to be JSON.
func (w *rewriter) mask(text []byte, rules []*rule) (masked []byte, changed bool) {
	w.rules, w.text, w.copied, w.out = rules, text, 0, w.out[:0]
	w.states = start(rules, w.states[:0])
	at := w.space(0)
	if _, isGone := w.value(at, w.states, ""); isGone {
		// A record without a value is none: that of a record is null.
		return []byte("null"), true
	}
	if w.copied == 0 {
		return text, false
	}
	// The buffer is used again: what goes on is a copy of just its size.
	return append(slices.Clip(w.out), w.text[w.copied:]...), true
}

func (w *rewriter) space(at int) int {
	for at < len(w.text) && (w.text[at] == ' ' || w.text[at] == '\n' || w.text[at] == '\t' || w.text[at] == '\r') {
		at++
	}
	return at
}

// write puts something in the place of a part of the text.
func (w *rewriter) write(start, end int, with string) {
	w.out = append(append(w.out, w.text[w.copied:start]...), with...)
	w.copied = end
}

// value masks the value that begins here, or says that it is to be taken away. It gives where it ends.
func (w *rewriter) value(at int, states []state, name string) (end int, isGone bool) {
	if len(states) == 0 {
		return w.skip(at), false
	}
	isContainer := w.text[at] == '{' || w.text[at] == '['
	var room [8]*rule
	fits := fitting(w.rules, states, isContainer, room[:0])
	if !isContainer {
		end = w.skip(at)
		return end, w.scalar(at, end, name, fits)
	}
	if len(fits) > 0 {
		end = w.skip(at)
		return end, w.whole(at, end, fits[0])
	}
	if w.text[at] == '{' {
		return w.members(at, states, func(at int) (string, int) {
			end := w.skip(at)
			return unquote(w.text[at:end]), w.space(w.space(end) + 1)
		}, nil), false
	}
	next := 0
	return w.members(at, states, func(at int) (string, int) {
		next++
		return strconv.Itoa(next - 1), at
	}, &name), false
}

// whole masks an object or list.
func (w *rewriter) whole(start, end int, by *rule) (isGone bool) {
	w.count(by)
	switch by.method {
	case drop:
		return true
	case null:
		w.write(start, end, "null")
	default:
		w.write(start, end, quote(by.with))
	}
	return false
}

// members masks what is in an object or list. `head` gives the name of a member and where its value is; `name` is that of
// the values in a list: the list's.
func (w *rewriter) members(at int, states []state, head func(at int) (string, int), name *string) int {
	isKept := false
	comma := at
	at = w.space(at + 1)
	for w.text[at] != '}' && w.text[at] != ']' {
		field, from := head(at)
		mark := len(w.states)
		w.states = step(w.rules, states, field, w.states)
		if name != nil {
			field = *name
		}
		end, isGone := w.value(from, w.states[mark:], field)
		w.states = w.states[:mark]
		next := w.space(end)
		isLast := w.text[next] != ','
		if !isLast {
			next = w.space(next + 1)
		}
		switch {
		case !isGone:
			isKept = true
		case isKept:
			w.write(comma, end, "")
		case isLast:
			w.write(at, end, "")
		default:
			w.write(at, next, "")
		}
		comma, at = w.space(end), next
	}
	return at + 1
}

// skip gives the place behind a value.
func (w *rewriter) skip(at int) int {
	text, depth := w.text, 0
	for {
		switch text[at] {
		case '"':
			for at++; text[at] != '"'; at++ {
				if text[at] == '\\' {
					at++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		default:
			if depth == 0 {
				for at < len(text) && strings.IndexByte(",]} \n\t\r", text[at]) < 0 {
					at++
				}
				return at
			}
		}
		at++
		if depth == 0 {
			return at
		}
	}
}

// leaf is a text, number, true or false.
type leaf struct {
	// name is that of the field that it is in.
	name string
	text string
	// isNumber: it is written without quotes, and a method may keep it so.
	isNumber bool
}

// result is what becomes of a leaf.
type result struct {
	what what
	text string
	// isBare: it is written without quotes.
	isBare bool
}

type what uint8

const (
	unchanged what = iota
	replaced
	nulled
	dropped
)

func (w *rewriter) scalar(start, end int, name string, rules []*rule) (isGone bool) {
	written := w.text[start:end]
	if len(rules) == 0 {
		return false
	}
	one := leaf{name: name, text: string(written)}
	switch written[0] {
	case '"':
		one.text = unquote(written)
	case 'n':
		// There is nothing to be masked, but the field may have to go.
		if by := rules[0]; len(by.detectors) == 0 && by.method == drop {
			w.count(by)
			return true
		}
		return false
	default:
		one.isNumber = written[0] != 't' && written[0] != 'f'
	}
	switch result := w.leaf(one, rules); result.what {
	case dropped:
		return true
	case nulled:
		w.write(start, end, "null")
	case replaced:
		text := result.text
		if !result.isBare {
			text = quote(text)
		}
		w.write(start, end, text)
	}
	return false
}

func (w *rewriter) count(by *rule) {
	w.counts[by.label]++
	w.since++
}

// leaf masks a value. A rule without detectors masks all of it; of the others, each masks what it finds and an earlier one
// has not.
func (w *rewriter) leaf(one leaf, rules []*rule) result {
	for _, rule := range rules {
		if len(rule.detectors) == 0 || slices.ContainsFunc(rule.detectors, func(by *detector) bool { return by.names[plainName(one.name)] }) {
			return w.all(one, rule)
		}
	}
	var found []found
	for _, rule := range rules {
		for _, by := range rule.detectors {
			if by.find == nil || one.isNumber && !by.inNumbers {
				continue
			}
			found = merge(found, by.find(one.text), by, rule)
		}
	}
	if len(found) == 0 {
		return result{}
	}
	return w.parts(one, found)
}

// all masks a value as a whole.
func (w *rewriter) all(one leaf, by *rule) result {
	switch by.method {
	case drop, null:
		w.count(by)
		return gone[by.method]
	}
	if one.text == "" {
		return result{}
	}
	w.count(by)
	if one.isNumber && by.method == format {
		return result{replaced, w.keyed.number(by.scope, one.text), true}
	}
	return result{what: replaced, text: by.mask(w.keyed, one.text, one.text)}
}

var gone = map[method]result{drop: {what: dropped}, null: {what: nulled}}

// found is a part of a text with who has found it.
type found struct {
	span
	by   *detector
	rule *rule
}

// merge adds what another detector has found to what was found before it, which counts where both overlap. Both are in the
// order of the text.
func merge(before []found, spans []span, by *detector, rule *rule) []found {
	if len(spans) == 0 {
		return before
	}
	all := make([]found, 0, len(before)+len(spans))
	next := 0
	for _, one := range spans {
		for next < len(before) && before[next].end <= one.start {
			all = append(all, before[next])
			next++
		}
		if next == len(before) || one.end <= before[next].start {
			all = append(all, found{one, by, rule})
		}
	}
	return append(all, before[next:]...)
}

// parts masks what was found in a text.
func (w *rewriter) parts(one leaf, all []found) result {
	for _, part := range all {
		if gone, isGone := gone[part.rule.method]; isGone {
			w.count(part.rule)
			return gone
		}
	}
	var masked strings.Builder
	from, isBare := 0, one.isNumber
	for _, part := range all {
		w.count(part.rule)
		isBare = isBare && part.rule.method == format
		masked.WriteString(one.text[from:part.start])
		text := one.text[part.start:part.end]
		if part.rule.method == format {
			masked.WriteString(part.by.format(w.keyed, part.rule.scope, text, part.plain))
		} else {
			masked.WriteString(part.rule.mask(w.keyed, text, part.plain))
		}
		from = part.end
	}
	masked.WriteString(one.text[from:])
	text := masked.String()
	// A number stays one as long as it is one: a zero in front is not allowed.
	return result{replaced, text, isBare && json.Valid([]byte(text))}
}

// unquote is the text of a JSON string that is known to be in order.
func unquote(written []byte) string {
	inner := written[1 : len(written)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var text string
	if json.Unmarshal(written, &text) != nil {
		return string(inner)
	}
	return text
}

func quote(text string) string {
	var written strings.Builder
	encoder := json.NewEncoder(&written)
	encoder.SetEscapeHTML(false)
	// A text can always be written.
	_ = encoder.Encode(text)
	return strings.TrimSuffix(written.String(), "\n")
}
