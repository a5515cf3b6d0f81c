// Command {{name}} writes a field of every record in capital or small letters.
package main

import (
	"strings"

	"crossdock"
)

// Config is what the flow file says. plugin.json describes every field, and the host has checked it.
type Config struct {
	Field   string `json:"field"`
	Letters string `json:"letters"`
}

// {{Type}} is the plugin with its config.
type {{Type}} struct {
	field  string
	change func(string) string
}

func open(config Config) (*{{Type}}, error) {
	plugin := &{{Type}}{field: config.Field, change: strings.ToUpper}
	if config.Letters == "lower" {
		plugin.change = strings.ToLower
	}
	return plugin, nil
}

// Map says what becomes of a record. An error makes a dead letter of this one only; its neighbours go on.
func (p *{{Type}}) Map(record *crossdock.Record, out *crossdock.Out) error {
	item, err := record.Object()
	if err != nil {
		return err
	}
	if !item.Has(p.field) {
		out.Filter("the field is missing")
		return nil
	}
	text, ok := item.Text(p.field)
	if !ok {
		return crossdock.Permanent("`%s` is no text: %s", p.field, item.Raw(p.field)).At("/" + p.field)
	}
	if err := item.Set(p.field, p.change(text)); err != nil {
		return err
	}
	out.Value(item)
	return nil
}

func init() { crossdock.RegisterTransformer(open) }

func main() {}
