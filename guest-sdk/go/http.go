package crossdock

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"crossdock/internal/contract"
)

// Connection is the name of a remote system: requests go to it through the host, which adds its authentication and keeps its
// limits. Empty, for URLs that are granted by themselves.
type Connection string

// Request is one request.
type Request struct {
	Method string
	// URL is absolute, or for a connection a path below its base URL. See [Escape].
	URL string
	// Header has what is to be sent along.
	Header map[string]string
	// Body is a string or a []byte; anything else is sent as JSON. Nil: none.
	Body any
	// Timeout: 0 is the connection's default.
	Timeout time.Duration
}

// Response is an answer. A status like 404 or 503 is one: see [Response.Err].
type Response struct {
	Status int
	// Body is all of it.
	Body []byte
	// URL is what was asked for.
	URL string

	headers [][2]string
}

// Answer is what came of one of several requests: a response, or why there is none.
type Answer struct {
	*Response
	Failure error
}

// Escape makes a text one part of a URL.
func Escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// Get asks for something.
func (c Connection) Get(url string) (*Response, error) {
	return c.Send(Request{Method: "GET", URL: url})
}

// Post sends something.
func (c Connection) Post(url string, body any) (*Response, error) {
	return c.Send(Request{Method: "POST", URL: url, Body: body})
}

// Put puts something in a place.
func (c Connection) Put(url string, body any) (*Response, error) {
	return c.Send(Request{Method: "PUT", URL: url, Body: body})
}

// Patch changes something.
func (c Connection) Patch(url string, body any) (*Response, error) {
	return c.Send(Request{Method: "PATCH", URL: url, Body: body})
}

// Delete removes something.
func (c Connection) Delete(url string) (*Response, error) {
	return c.Send(Request{Method: "DELETE", URL: url})
}

// Send sends one request.
func (c Connection) Send(request Request) (*Response, error) {
	wire, err := c.wire(request)
	if err != nil {
		return nil, err
	}
	answer := answerOf(contract.Imports.Send(wire), request.URL)
	return answer.Response, answer.Failure
}

// SendAll sends all of them, as many at a time as the connection allows, and gives the answers in their order.
func (c Connection) SendAll(requests []Request) []Answer {
	answers := make([]Answer, len(requests))
	var sent []contract.Request
	var places []int
	for i, request := range requests {
		wire, err := c.wire(request)
		if err != nil {
			answers[i].Failure = err
			continue
		}
		sent, places = append(sent, wire), append(places, i)
	}
	if len(sent) == 0 {
		return answers
	}
	for i, answer := range contract.Imports.SendAll(sent) {
		answers[places[i]] = answerOf(answer, requests[places[i]].URL)
	}
	return answers
}

func (c Connection) wire(request Request) (contract.Request, error) {
	wire := contract.Request{
		Connection: string(c),
		Method:     request.Method,
		URL:        request.URL,
	}
	if request.Timeout > 0 {
		wire.TimeoutMillis = uint32(max(request.Timeout.Milliseconds(), 1))
	}
	typed := false
	for _, name := range slices.Sorted(maps.Keys(request.Header)) {
		typed = typed || strings.EqualFold(name, "content-type")
		wire.Headers = append(wire.Headers, [2]string{name, request.Header[name]})
	}
	switch body := request.Body.(type) {
	case nil:
	case string:
		wire.Body = []byte(body)
	case []byte:
		wire.Body = body
	default:
		text, err := encode(body)
		if err != nil {
			return wire, err
		}
		wire.Body = text
		if !typed {
			wire.Headers = append(wire.Headers, [2]string{"content-type", "application/json"})
		}
	}
	return wire, nil
}

// answerOf is the answer of the host, or why there is none, as a fault.
func answerOf(answer contract.Answer, url string) Answer {
	if failure := answer.Failure; failure != nil {
		fault := Fault{Kind: KindPermanent, Message: failure.Text, Location: url}
		switch failure.Tag {
		case "denied":
			fault.Kind = KindConfig
		case "unauthenticated":
			fault.Kind, fault.Advice = KindConfig, "check the connection's user, password and client"
		case "unreachable":
			fault.Kind = KindTransient
		}
		return Answer{Failure: &fault}
	}
	response := answer.Response
	return Answer{Response: &Response{int(response.Status), response.Body, url, response.Headers}}
}

// OK tells whether the status is one of success.
func (r *Response) OK() bool { return r.Status >= 200 && r.Status < 300 }

// Header is a header, or empty. Its name may have any letters.
func (r *Response) Header(name string) string {
	for _, header := range r.headers {
		if strings.EqualFold(header[0], name) {
			return header[1]
		}
	}
	return ""
}

// Err is the fault that the status stands for: nil below 400, transient when it may pass, of the config when a right is
// missing, otherwise permanent.
func (r *Response) Err() error {
	if r.Status < 400 {
		return nil
	}
	fault := Permanent("the server answered %d: %s", r.Status, r.start()).At(r.URL)
	switch {
	case r.Status == 401 || r.Status == 403:
		fault.Kind, fault.Advice = KindConfig, "check the connection's user and its rights"
	case r.Status == 408 || r.Status == 425 || r.Status == 429 || r.Status >= 500:
		fault.Kind, fault.RetryAfter = KindTransient, r.RetryAfter()
	}
	return fault
}

// JSON decodes the body of a response that is no error.
func (r *Response) JSON(value any) error {
	if err := r.Err(); err != nil {
		return err
	}
	if err := json.Unmarshal(r.Body, value); err != nil {
		return Permanent("the response is not the JSON that was expected: %w; %s", err, r.start()).At(r.URL)
	}
	return nil
}

// RetryAfter is how long the server asked to wait, or 0.
func (r *Response) RetryAfter() time.Duration {
	asked := strings.TrimSpace(r.Header("retry-after"))
	if seconds, err := strconv.ParseUint(asked, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	// As in net/http, which is far too large for what is needed of it.
	if at, err := time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", asked); err == nil {
		return max(at.Sub(Now()), 0)
	}
	return 0
}

// start is the beginning of the body, for messages.
func (r *Response) start() string {
	const most = 200
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(r.Body), "�")), " ")
	if text == "" {
		return "(empty body)"
	}
	if len(text) > most {
		end := most
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		return text[:end] + "…"
	}
	return text
}
