package main

import (
	"errors"
	"fmt"
	"strings"
)

// pattern is a JSON pointer whose segments may be `*`, any one field or item, and `**`, any number of them.
type pattern []segment

type segment struct {
	name string
	kind segmentKind
}

type segmentKind uint8

const (
	named segmentKind = iota
	// anyOne is `*`.
	anyOne
	// anyNumber is `**`.
	anyNumber
)

const mostSegments = 64

func parsePattern(text string) (pattern, error) {
	if text == "" {
		return nil, nil
	}
	if !strings.HasPrefix(text, "/") {
		return nil, fmt.Errorf("a path starts with `/`, as `/customer/email` does; this is `%s`", text)
	}
	if strings.Count(text, "/") > mostSegments {
		return nil, fmt.Errorf("a path has at most %d parts", mostSegments)
	}
	var made pattern
	for _, part := range strings.Split(text[1:], "/") {
		switch part {
		case "*":
			made = append(made, segment{kind: anyOne})
		case "**":
			if len(made) > 0 && made[len(made)-1].kind == anyNumber {
				return nil, errors.New("`**` twice in a row says no more than once")
			}
			made = append(made, segment{kind: anyNumber})
		default:
			if at := strings.IndexByte(part, '~'); at >= 0 && !strings.HasPrefix(part[at+1:], "0") && !strings.HasPrefix(part[at+1:], "1") {
				return nil, fmt.Errorf("`~` stands in a path as `~0`, and `/` in a name as `~1`: `%s`", part)
			}
			name := strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
			made = append(made, segment{name: name})
		}
	}
	return made, nil
}

// andBelow is the pattern with all that is in an object or list which it fits.
func (p pattern) andBelow() pattern {
	if p.endsOpen() {
		return p
	}
	return append(p, segment{kind: anyNumber})
}

func (p pattern) endsOpen() bool { return len(p) > 0 && p[len(p)-1].kind == anyNumber }

// state is a rule of whose pattern the first segments fit the way from the root to a value.
type state struct {
	rule    int
	pattern int
	// at is the next segment.
	at int
}

// start gives the states at the root.
func start(rules []*rule, into []state) []state {
	for i, rule := range rules {
		for j, pattern := range rule.patterns {
			into = enter(pattern, state{i, j, 0}, into, 0)
		}
	}
	return into
}

// enter adds a state behind the first ones, which are those of other values, and those that `**` leads to without a step. One
// that is there already leads nowhere else.
func enter(pattern pattern, next state, into []state, first int) []state {
	for i := len(into) - 1; i >= first && into[i].rule == next.rule && into[i].pattern == next.pattern; i-- {
		if into[i].at == next.at {
			return into
		}
	}
	into = append(into, next)
	if next.at < len(pattern) && pattern[next.at].kind == anyNumber {
		next.at++
		return enter(pattern, next, into, first)
	}
	return into
}

// step gives the states one field, or item, further.
func step(rules []*rule, from []state, name string, into []state) []state {
	first := len(into)
	for _, one := range from {
		pattern := rules[one.rule].patterns[one.pattern]
		if one.at == len(pattern) {
			continue
		}
		switch segment := pattern[one.at]; {
		case segment.kind == anyNumber:
			into = enter(pattern, one, into, first)
		case segment.kind == anyOne || segment.name == name:
			into = enter(pattern, state{one.rule, one.pattern, one.at + 1}, into, first)
		}
	}
	return into
}

// fitting gives the rules that are about this value, each once, in their order. `**` at the end of a pattern is about the
// texts and numbers in an object or list, and not about the object or list itself.
func fitting(rules []*rule, states []state, isContainer bool, into []*rule) []*rule {
	last := -1
	for _, one := range states {
		pattern := rules[one.rule].patterns[one.pattern]
		if one.rule == last || one.at < len(pattern) || isContainer && pattern.endsOpen() {
			continue
		}
		into, last = append(into, rules[one.rule]), one.rule
	}
	return into
}
