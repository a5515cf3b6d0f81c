package crossdock_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"crossdock"
	"crossdock/crossdocktest"
)

func TestAResponseIsTheFaultThatItsStatusStandsFor(t *testing.T) {
	host := crossdocktest.NewHost(t)
	shop := crossdock.Connection("shop")
	for _, one := range []struct {
		reply crossdocktest.Reply
		kind  crossdock.Kind
		words string
		wait  time.Duration
	}{
		{crossdocktest.Answer(401, "who?"), crossdock.KindConfig, "401: who?", 0},
		{crossdocktest.Answer(429, "", "Retry-After", "7"), crossdock.KindTransient, "429: (empty body)", 7 * time.Second},
		{crossdocktest.Answer(503, "", "Retry-After", "Thu, 01 Jan 2026 00:00:05 GMT"), crossdock.KindTransient, "503", 5 * time.Second},
		{crossdocktest.Answer(404, strings.Repeat("ä", 300)), crossdock.KindPermanent, "ä…", 0},
		{crossdocktest.Answer(200, "<html>"), crossdock.KindPermanent, "not the JSON that was expected", 0},
		{crossdocktest.Refused("denied", "grant it"), crossdock.KindConfig, "grant it", 0},
		{crossdocktest.Refused("unreachable", "no route"), crossdock.KindTransient, "no route", 0},
		{crossdocktest.Refused("too-large", "9 GB"), crossdock.KindPermanent, "9 GB", 0},
	} {
		host.OnHTTP(func(crossdocktest.Asked) crossdocktest.Reply { return one.reply })
		response, err := shop.Get("/items")
		if err == nil {
			err = response.JSON(new(any))
		}
		fault := faultOf(t, err)
		if fault.Kind != one.kind || !strings.Contains(fault.Message, one.words) || fault.RetryAfter != one.wait || fault.Kind != crossdock.KindConfig && fault.Location != "/items" {
			t.Errorf("%#v", fault)
		}
	}
}

func TestManyRequestsAreAnsweredInTheirOrder(t *testing.T) {
	host := crossdocktest.NewHost(t)
	host.OnHTTP(func(asked crossdocktest.Asked) crossdocktest.Reply {
		if asked.URL == "/b%20c" {
			return crossdocktest.Refused("unreachable", "gone")
		}
		return crossdocktest.Answer(200, asked.URL, "X-A", "b")
	})
	answers := crossdock.Connection("shop").SendAll([]crossdock.Request{
		{Method: "PUT", URL: "/a", Body: map[string]int{"n": 1}, Timeout: time.Millisecond},
		{Method: "PUT", URL: "/no", Body: make(chan int)},
		{Method: "GET", URL: "/" + crossdock.Escape("b c"), Header: map[string]string{"b": "2", "a": "1"}},
		{Method: "POST", URL: "/d", Body: "text"},
	})
	if answers[0].Failure != nil || string(answers[0].Body) != "/a" || answers[0].Header("x-A") != "b" {
		t.Error(answers[0])
	}
	if answers[1].Failure == nil || answers[2].Failure == nil || string(answers[3].Body) != "/d" || len(host.Requests) != 3 {
		t.Error(answers[1], answers[2], answers[3])
	}
	if first := host.Requests[0]; first.Headers["content-type"] != "application/json" || string(first.Body) != `{"n":1}` || first.Connection != "shop" {
		t.Error(first)
	}
	if last := host.Requests[2]; len(last.Headers) != 0 || string(last.Body) != "text" {
		t.Error(last)
	}
}

func TestTables(t *testing.T) {
	host := crossdocktest.NewHost(t)
	host.SetTable("ids", map[string]string{"a": "1", "b": `"two"`})
	ids := crossdock.Table("ids")
	if err := ids.PutMany(map[string]any{"ac": []int{3}, "aa": nil}); err != nil {
		t.Fatal(err)
	}
	if err := ids.Remove("b"); err != nil {
		t.Fatal(err)
	}
	found, err := ids.GetMany([]string{"a", "b", "ac"})
	if err != nil || len(found) != 2 || string(found["ac"]) != "[3]" {
		t.Error(found, err)
	}
	entries, err := ids.Find("a", "a", 1)
	if err != nil || len(entries) != 1 || entries[0].Key != "aa" || string(entries[0].Value) != "null" {
		t.Error(entries, err)
	}
	var number int
	if ok, err := ids.Get("a", &number); !ok || err != nil || number != 1 {
		t.Error(ok, err, number)
	}
	if ok, err := ids.Get("none", &number); ok || err != nil {
		t.Error(ok, err)
	}
	if _, err := ids.Get("ac", &number); err == nil {
		t.Error("a list is no number")
	}
	if told := host.Table("ids")["ac"]; !json.Valid([]byte(told)) {
		t.Error(told)
	}
}

func TestTheClockAndTheLogAreTheHosts(t *testing.T) {
	host := crossdocktest.NewHost(t)
	crossdock.Warnf("%d of %s", 3, "four")
	crossdock.Count("seen", 2)
	crossdock.Gauge("depth", 1.5)
	if host.Logs[0] != (crossdocktest.Logged{Level: "warn", Message: "3 of four"}) || host.Counters["seen"] != 2 || host.Gauges["depth"] != 1.5 {
		t.Error(host)
	}
	if !crossdock.Now().Equal(host.Now) || crossdock.RandomUint64() == crossdock.RandomUint64() {
		t.Error(crossdock.Now())
	}
}
