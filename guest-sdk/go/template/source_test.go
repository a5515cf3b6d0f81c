package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"crossdock"
	"crossdock/crossdocktest"
)

var config = Config{Connection: "shop", Page: 2}

func TestEveryItemComesOnceWhereverItIsInterrupted(t *testing.T) {
	host := crossdocktest.NewHost(t)
	host.OnHTTP(func(asked crossdocktest.Asked) crossdocktest.Reply {
		address, err := url.Parse(asked.URL)
		if err != nil {
			t.Fatal(err)
		}
		after := address.Query().Get("after")
		var items []string
		for _, id := range strings.Split("abcde", "") {
			if id > after && len(items) < 2 {
				items = append(items, fmt.Sprintf(`{"id":%q}`, id))
			}
		}
		return crossdocktest.Answer(200, "["+strings.Join(items, ",")+"]")
	})
	keys := ""
	for _, record := range crossdocktest.ReadAll(t, config) {
		keys += record.Key
	}
	if keys != "abcde" {
		t.Error(keys)
	}
	if first := host.Requests[0].URL; first != "/items?after=&limit=2" {
		t.Error(first)
	}
}

func TestWhatTheAPIRefusesIsTold(t *testing.T) {
	host := crossdocktest.NewHost(t)
	host.OnHTTP(func(crossdocktest.Asked) crossdocktest.Reply { return crossdocktest.Answer(503, "come back later") })
	_, err := crossdocktest.OpenSource(t, config).TryRead(crossdocktest.Budget{})
	var fault *crossdock.Fault
	if !errors.As(err, &fault) || fault.Kind != crossdock.KindTransient || !strings.Contains(fault.Message, "503: come back later") {
		t.Error(err)
	}
}
