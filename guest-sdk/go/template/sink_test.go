package main

import (
	"strings"
	"testing"

	"crossdock"
	"crossdock/crossdocktest"
)

func TestEachRecordIsPutUnderItsKeyAndWhatIsRefusedIsRejected(t *testing.T) {
	host := crossdocktest.NewHost(t)
	host.OnHTTP(func(asked crossdocktest.Asked) crossdocktest.Reply {
		if strings.HasSuffix(asked.URL, "/bad") {
			return crossdocktest.Answer(422, "")
		}
		return crossdocktest.Answer(204, "")
	})
	var items []any
	for _, key := range []string{"a/1", "bad", ""} {
		items = append(items, crossdock.Output{Value: map[string]string{"name": "Cup"}, Key: key})
	}
	rejected := crossdocktest.OpenSink(t, Config{Connection: "shop"}).Write("items", items...)
	if len(rejected) != 2 || rejected[1] == nil || rejected[2] == nil {
		t.Error(rejected)
	}
	if first := host.Requests[0]; first.URL != "/items/a%2F1" || string(first.Body) != `{"name":"Cup"}` {
		t.Errorf("%s %s", first.URL, first.Body)
	}
}

func TestAnItemToDeleteThatIsNotThereIsAsGoodAsDeleted(t *testing.T) {
	crossdocktest.NewHost(t).OnHTTP(func(crossdocktest.Asked) crossdocktest.Reply { return crossdocktest.Answer(404, "") })
	sink := crossdocktest.OpenSink(t, Config{Connection: "shop"})
	if rejected := sink.Write("items", crossdock.Output{Key: "a", Op: crossdock.Delete}); len(rejected) != 0 {
		t.Error(rejected)
	}
}
