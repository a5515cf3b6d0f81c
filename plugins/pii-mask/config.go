package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"crossdock"
)

// Config is what the flow file says; plugin.json describes every field.
type Config struct {
	Key     string `json:"key"`
	KeyFile string `json:"key-file"`
	Bytes   string `json:"bytes"`
	Rules   []Rule `json:"rules"`
}

// Rule says what is masked, and how.
type Rule struct {
	Path        texts    `json:"path"`
	Detect      texts    `json:"detect"`
	PersonNames []string `json:"person-names"`
	Part        string   `json:"part"`
	Streams     texts    `json:"streams"`
	Method      string   `json:"method"`
	With        *string  `json:"with"`
	Keep        *int     `json:"keep"`
	Length      *int     `json:"length"`
	Scope       string   `json:"scope"`
}

// texts is one text or several.
type texts []string

// UnmarshalJSON takes both forms.
func (t *texts) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		return json.Unmarshal(text, (*[]string)(t))
	}
	*t = make(texts, 1)
	return json.Unmarshal(text, &(*t)[0])
}

// rule is one that is ready to be used.
type rule struct {
	// label names it in the log.
	label    string
	patterns []pattern
	// detectors find what is masked in a value. None: all of it is.
	detectors []*detector
	onKey     bool
	streams   []string
	method    method
	with      string
	keep      int
	length    int
	scope     string
	// place is its field in the config.
	place string
}

// needsKey tells whether what it does depends on the key.
func (r *rule) needsKey() bool { return r.method == hash || r.method == format }

const (
	defaultWith   = "[redacted]"
	defaultKeep   = 4
	defaultLength = 32
	// shortestKey is in bytes: what can be guessed protects nothing, since everybody knows what telephone numbers there are.
	shortestKey = 16
	longestKey  = 4096
	mostRules   = 1000
)

func (c Config) compile() ([]*rule, error) {
	if len(c.Rules) == 0 {
		return nil, crossdock.ConfigError("/rules", "there is no rule, so nothing would be masked")
	}
	if len(c.Rules) > mostRules {
		return nil, crossdock.ConfigError("/rules", "there are %d rules, and %d are the most", len(c.Rules), mostRules)
	}
	var rules []*rule
	for i, given := range c.Rules {
		rule, err := given.compile(fmt.Sprintf("/rules/%d", i))
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func (r Rule) compile(place string) (*rule, error) {
	made := &rule{
		place: place, label: r.label(place), streams: r.Streams, with: defaultWith, keep: defaultKeep, length: defaultLength, scope: r.Scope,
	}
	var ok bool
	if made.method, ok = methods[r.Method]; !ok {
		return nil, crossdock.ConfigError(place+"/method", "there is no method `%s`", r.Method).
			Advise("the methods are %s", strings.Join(names(methods), ", "))
	}
	if err := r.compileWhat(place, made); err != nil {
		return nil, err
	}
	return made, r.compileHow(place, made)
}

// label names the rule in the log: what it looks at and what it does.
func (r Rule) label(place string) string {
	what := append(slices.Clone(r.Path), r.Detect...)
	if r.Part == "key" {
		what = append([]string{"key"}, what...)
	}
	return strings.TrimPrefix(place, "/") + " (" + strings.Join(append(what, r.Method), " ") + ")"
}

// compileWhat says what the rule is about.
func (r Rule) compileWhat(place string, made *rule) error {
	switch r.Part {
	case "", "payload":
	case "key":
		made.onKey = true
		if len(r.Path) > 0 {
			return crossdock.ConfigError(place+"/path", "the key of a record has no fields")
		}
	default:
		return crossdock.ConfigError(place+"/part", "there is no part `%s`: it is `payload` or `key`", r.Part)
	}
	for i, name := range r.Detect {
		made.detectors = append(made.detectors, detectors[name])
		if made.detectors[i] == nil {
			return crossdock.ConfigError(nth(place+"/detect", i, r.Detect), "there is no detector `%s`", name).
				Advise("the detectors are %s", strings.Join(names(detectors), ", "))
		}
		if name == personName && len(r.PersonNames) > 0 {
			made.detectors[i] = personNames(r.PersonNames)
		}
	}
	if len(r.PersonNames) > 0 && !slices.Contains(r.Detect, personName) {
		return crossdock.ConfigError(place+"/person-names", "these names are for the detector `person-name`, which `detect` does not have")
	}
	paths := r.Path
	if len(paths) == 0 && len(r.Detect) == 0 && !made.onKey {
		return crossdock.ConfigError(place, "the rule says neither a `path` nor what to `detect`").
			Advise("`path: /**` is every value")
	}
	if len(paths) == 0 {
		paths = texts{"/**"}
	}
	for i, path := range paths {
		pattern, err := parsePattern(path)
		if err != nil {
			return crossdock.ConfigError(nth(place+"/path", i, r.Path), "%v", err)
		}
		// Such a rule is about texts and numbers: those in an object or list that it names, too.
		if len(made.detectors) > 0 || !takesContainers(made.method) {
			pattern = pattern.andBelow()
		}
		made.patterns = append(made.patterns, pattern)
	}
	return nil
}

// takesContainers tells whether a method can do something with an object or list as a whole.
func takesContainers(method method) bool { return method == redact || method == null || method == drop }

// nth is the field of an item of `texts`, which may have been one text.
func nth(field string, index int, all texts) string {
	if len(all) < 2 {
		return field
	}
	return fmt.Sprintf("%s/%d", field, index)
}

// compileHow says what the rule does. What a method does not use is a mistake.
func (r Rule) compileHow(place string, made *rule) error {
	for _, one := range []struct {
		field  string
		isSaid bool
		of     []method
	}{
		{"with", r.With != nil, []method{redact, partial}},
		{"keep", r.Keep != nil, []method{partial}},
		{"length", r.Length != nil, []method{hash}},
		{"scope", r.Scope != "", []method{hash, format}},
	} {
		if one.isSaid && !slices.Contains(one.of, made.method) {
			return crossdock.ConfigError(place+"/"+one.field, "the method `%s` has no `%s`", r.Method, one.field)
		}
	}
	if made.method == partial {
		made.with = "*"
	}
	if r.With != nil {
		made.with = *r.With
		if made.method == partial && utf8.RuneCountInString(made.with) != 1 {
			return crossdock.ConfigError(place+"/with", "one sign takes the place of each letter and digit, not `%s`", made.with)
		}
	}
	if r.Keep != nil {
		made.keep = *r.Keep
		if made.keep < 1 {
			return crossdock.ConfigError(place+"/keep", "at least 1 sign is kept; to keep none, there is the method `redact`")
		}
	}
	if r.Length != nil {
		made.length = *r.Length
		if made.length < 16 || made.length > 64 {
			return crossdock.ConfigError(place+"/length", "a hash has 16 to 64 signs, not %d", made.length)
		}
	}
	return nil
}

// readKey gives the key, which rules with the methods hash and format need.
func (c Config) readKey(rules []*rule) ([]byte, error) {
	at := slices.IndexFunc(rules, (*rule).needsKey)
	field, key := "/key", []byte(c.Key)
	if c.KeyFile != "" {
		if c.Key != "" {
			return nil, crossdock.ConfigError("/key-file", "there is a `key` too: say one of both")
		}
		field = "/key-file"
		text, err := os.ReadFile(c.KeyFile)
		if err != nil {
			return nil, crossdock.ConfigError(field, "the key cannot be read: %v", readable(err)).
				Advise("its folder has to be granted: `grants: { files: { read: [FOLDER] } }`")
		}
		// An editor ends a file with a line break, which is none of the key.
		key = bytes.TrimRight(text, "\r\n")
	}
	switch {
	case len(key) == 0 && c.KeyFile == "" && at < 0:
		return nil, nil
	case len(key) == 0 && c.KeyFile == "":
		return nil, crossdock.ConfigError(rules[at].place+"/method", "the method `%s` needs a key", methodNames[rules[at].method]).
			Advise("say `key: ${PII_KEY}` or `key-file: keys/pii.key`; `openssl rand -hex 32` makes one")
	case len(key) < shortestKey:
		return nil, crossdock.ConfigError(field, "the key has %d bytes, and at least %d are needed: what is short can be guessed", len(key), shortestKey).
			Advise("`openssl rand -hex 32` makes one")
	case len(key) > longestKey:
		return nil, crossdock.ConfigError(field, "the key has more than %d bytes: is it another file?", longestKey)
	}
	return key, nil
}

// readable is why a file cannot be read, in words.
func readable(err error) error {
	var wrong *os.PathError
	switch {
	case !errors.As(err, &wrong):
		return err
	case errors.Is(err, syscall.EBADF):
		// What the sandbox answers where nothing is.
		return fmt.Errorf("no folder that is granted holds %s", wrong.Path)
	default:
		return fmt.Errorf("%s: %w", wrong.Path, wrong.Err)
	}
}
