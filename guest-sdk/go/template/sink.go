// Command {{name}} puts every record to an API, under its key.
package main

import (
	"encoding/json"

	"crossdock"
)

// Config is what the flow file says. plugin.json describes every field, and the host has checked it.
type Config struct {
	Connection crossdock.Connection `json:"connection"`
	Path       string               `json:"path"`
}

// {{Type}} is the plugin with its config.
type {{Type}} struct {
	config Config
}

func open(config Config) (*{{Type}}, error) {
	if config.Path == "" {
		config.Path = "/items"
	}
	return &{{Type}}{config}, nil
}

// check has no side effects.
func check(config Config) error {
	plugin, err := open(config)
	if err != nil {
		return err
	}
	response, err := plugin.config.Connection.Get(plugin.config.Path)
	if err != nil {
		return err
	}
	return response.Err()
}

// request is what puts a record. Putting the same item twice is as good as once, so a crash between two checkpoints does no
// harm.
func (p *{{Type}}) request(record *crossdock.Record) (crossdock.Request, error) {
	if record.Key() == "" {
		return crossdock.Request{}, crossdock.Permanent("the record has no key, so it has no place in the API")
	}
	url := p.config.Path + "/" + crossdock.Escape(record.Key())
	if record.Op() == crossdock.Delete {
		return crossdock.Request{Method: "DELETE", URL: url}, nil
	}
	// What is no JSON is rejected here; what is goes on as it is written.
	var item json.RawMessage
	if err := record.Decode(&item); err != nil {
		return crossdock.Request{}, err
	}
	return crossdock.Request{Method: "PUT", URL: url, Body: item}, nil
}

// Write puts the records of a batch, as many at a time as the connection allows.
func (p *{{Type}}) Write(batch *crossdock.Batch, written *crossdock.Written) error {
	var records []*crossdock.Record
	var requests []crossdock.Request
	err := written.Each(func(record *crossdock.Record) error {
		request, err := p.request(record)
		if err == nil {
			records, requests = append(records, record), append(requests, request)
		}
		return err
	})
	if err != nil {
		return err
	}
	for i, answer := range p.config.Connection.SendAll(requests) {
		err := answer.Failure
		// An item to delete that is not there is as good as deleted.
		if err == nil && !(records[i].Op() == crossdock.Delete && answer.Status == 404) {
			err = answer.Err()
		}
		if err := written.Settle(records[i], err); err != nil {
			return err
		}
	}
	return nil
}

func init() { crossdock.RegisterSink(open, crossdock.WithCheck(check)) }

func main() {}
