// Command {{name}} reads the items of an API, page by page.
package main

import (
	"encoding/json"
	"fmt"
	"io"

	"crossdock"
)

// Config is what the flow file says. plugin.json describes every field, and the host has checked it.
type Config struct {
	Connection crossdock.Connection `json:"connection"`
	Path       string               `json:"path"`
	Page       int                  `json:"page"`
}

// {{Type}} is the plugin with its config, and how far it is.
type {{Type}} struct {
	config Config
	// after is the id of the last item that was given.
	after string
	// page has what the API gave and nobody took yet.
	page []json.RawMessage
}

// open goes on behind the item with the id `after`; at the start it is nil.
func open(config Config, after *string) (*{{Type}}, error) {
	if config.Path == "" {
		config.Path = "/items"
	}
	if config.Page == 0 {
		config.Page = 100
	}
	plugin := &{{Type}}{config: config}
	if after != nil {
		plugin.after = *after
	}
	return plugin, nil
}

// check has no side effects.
func check(config Config) error {
	plugin, err := open(config, nil)
	if err != nil {
		return err
	}
	_, err = plugin.fetch()
	return err
}

func streams(Config) ([]crossdock.Stream, error) {
	items := crossdock.Stream{Name: "items", Key: []string{"id"}, Incremental: true}
	return []crossdock.Stream{items}, nil
}

// fetch gives the next page: items whose id is greater than the last one's.
func (p *{{Type}}) fetch() (page []json.RawMessage, err error) {
	url := fmt.Sprintf("%s?after=%s&limit=%d", p.config.Path, crossdock.Escape(p.after), p.config.Page)
	response, err := p.config.Connection.Get(url)
	if err != nil {
		return nil, err
	}
	return page, response.JSON(&page)
}

// Next gives the next item. Its position is all that a snapshot needs.
func (p *{{Type}}) Next() (crossdock.Output, error) {
	if len(p.page) == 0 {
		page, err := p.fetch()
		if err != nil {
			return crossdock.Output{}, err
		}
		if len(page) == 0 {
			return crossdock.Output{}, io.EOF
		}
		p.page = page
	}
	raw := p.page[0]
	var item struct {
		ID *string `json:"id"`
	}
	if err := json.Unmarshal(raw, &item); err != nil || item.ID == nil {
		return crossdock.Output{}, crossdock.Permanent("an item without an `id` that is a text: %s", raw).At(p.config.Path)
	}
	p.page, p.after = p.page[1:], *item.ID
	return crossdock.Output{Value: raw, Stream: "items", Key: p.after, Position: p.after}, nil
}

func init() {
	crossdock.RegisterSource(open, crossdock.WithCheck(check), crossdock.WithStreams(streams))
}

func main() {}
