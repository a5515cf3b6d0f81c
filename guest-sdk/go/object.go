package crossdock

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// Object is a JSON object whose fields stay in their order, and as they are written, unless they are set: numbers keep their
// digits. A field is decoded when it is asked for.
type Object struct {
	fields []field
}

type field struct {
	name  string
	value json.RawMessage
}

// ParseObject reads an object.
func ParseObject(text []byte) (*Object, error) {
	if !json.Valid(text) {
		// Told in its own words.
		var any json.RawMessage
		return nil, payloadFault(json.Unmarshal(text, &any))
	}
	object := new(Object)
	if err := object.scan(text); err != nil {
		return nil, err
	}
	return object, nil
}

// scan reads the fields of a text that is known to be JSON.
func (o *Object) scan(text []byte) error {
	at := skipSpace(text, 0)
	if text[at] != '{' {
		return Permanent("expected a JSON object, found %s", start(text[at:]))
	}
	at = skipSpace(text, at+1)
	for text[at] != '}' {
		end := skipString(text, at)
		name, err := unquoted(text[at:end])
		if err != nil {
			return err
		}
		// Over the colon.
		from := skipSpace(text, skipSpace(text, end)+1)
		to := skipValue(text, from)
		o.fields = append(o.fields, field{name, text[from:to:to]})
		at = skipSpace(text, to)
		if text[at] == ',' {
			at = skipSpace(text, at+1)
		}
	}
	return nil
}

// start is the beginning of a text, for messages.
func start(text []byte) string {
	const most = 40
	if len(text) <= most {
		return string(text)
	}
	end := most
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return string(text[:end]) + "…"
}

func skipSpace(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\n' || text[at] == '\t' || text[at] == '\r') {
		at++
	}
	return at
}

// skipString gives the place behind the string that starts at a quote.
func skipString(text []byte, at int) int {
	for at++; text[at] != '"'; at++ {
		if text[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// skipValue gives the place behind a value.
func skipValue(text []byte, at int) int {
	depth := 0
	for {
		switch text[at] {
		case '"':
			at = skipString(text, at) - 1
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		default:
			if depth == 0 {
				for at < len(text) && !bytes.ContainsRune([]byte(",]} \n\t\r"), rune(text[at])) {
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

// unquoted is the text of a JSON string.
func unquoted(quoted []byte) (string, error) {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner), nil
	}
	var text string
	if err := json.Unmarshal(quoted, &text); err != nil {
		return "", payloadFault(err)
	}
	return text, nil
}

func (o *Object) find(name string) int {
	// Of two fields with the same name the last one counts, as in encoding/json.
	for i := len(o.fields) - 1; i >= 0; i-- {
		if o.fields[i].name == name {
			return i
		}
	}
	return -1
}

// Len is the number of fields.
func (o *Object) Len() int { return len(o.fields) }

// Names are the names of the fields, in their order.
func (o *Object) Names() []string {
	names := make([]string, len(o.fields))
	for i, field := range o.fields {
		names[i] = field.name
	}
	return names
}

// Has tells whether there is such a field.
func (o *Object) Has(name string) bool { return o.find(name) >= 0 }

// Raw is a field as it is written, or nil.
func (o *Object) Raw(name string) json.RawMessage {
	if i := o.find(name); i >= 0 {
		return o.fields[i].value
	}
	return nil
}

// Text is a field that is a text; ok tells whether it is there and is one.
func (o *Object) Text(name string) (text string, ok bool) {
	raw := o.Raw(name)
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	text, err := unquoted(raw)
	return text, err == nil
}

// Decode reads a field into a value. It is left as it is when there is no such field.
func (o *Object) Decode(name string, value any) error {
	raw := o.Raw(name)
	if raw == nil {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(value); err != nil {
		fault := payloadFault(err)
		fault.Location = "/" + name + fault.Location
		return fault
	}
	return nil
}

// Set changes a field or adds one behind the others.
func (o *Object) Set(name string, value any) error {
	raw, err := encode(value)
	if err != nil {
		return err
	}
	if i := o.find(name); i >= 0 {
		o.fields[i].value = raw
	} else {
		o.fields = append(o.fields, field{name, raw})
	}
	return nil
}

// Delete removes a field.
func (o *Object) Delete(name string) {
	kept := o.fields[:0]
	for _, field := range o.fields {
		if field.name != name {
			kept = append(kept, field)
		}
	}
	o.fields = kept
}

// MarshalJSON writes the object.
func (o *Object) MarshalJSON() ([]byte, error) {
	size := 2
	for _, field := range o.fields {
		size += len(field.name) + len(field.value) + 4
	}
	text := append(make([]byte, 0, size), '{')
	for i, field := range o.fields {
		if i > 0 {
			text = append(text, ',')
		}
		name, err := encode(field.name)
		if err != nil {
			return nil, err
		}
		text = append(append(append(text, name...), ':'), field.value...)
	}
	return append(text, '}'), nil
}

// encode writes a value as JSON, with no letters escaped for HTML.
func encode(value any) ([]byte, error) {
	if object, ok := value.(*Object); ok {
		return object.MarshalJSON()
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, Permanent("what was given out cannot be said in JSON: %w", err)
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}
