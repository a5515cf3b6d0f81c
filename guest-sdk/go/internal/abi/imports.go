//go:build wasip1

package abi

import (
	"unsafe"

	"crossdock/internal/contract"
)

//go:wasmimport crossdock:plugin/log@0.1.0 write
func logWrite(level uint32, message string)

//go:wasmimport crossdock:plugin/metrics@0.1.0 count
func metricsCount(name string, delta uint64)

//go:wasmimport crossdock:plugin/metrics@0.1.0 gauge
func metricsGauge(name string, value float64)

//go:wasmimport crossdock:plugin/tables@0.1.0 get-many
func tablesGetMany(table string, ends unsafe.Pointer, endsLen uint32, data unsafe.Pointer, dataLen uint32, answer unsafe.Pointer)

//go:wasmimport crossdock:plugin/tables@0.1.0 find
func tablesFind(table, prefix, after string, limit uint32, answer unsafe.Pointer)

//go:wasmimport crossdock:plugin/tables@0.1.0 put
func tablesPut(table string, ends unsafe.Pointer, endsLen uint32, data unsafe.Pointer, dataLen uint32, answer unsafe.Pointer)

//go:wasmimport crossdock:plugin/http-client@0.1.0 send
func httpSend(
	connection, method, url string, headers, headersLen uint32, body unsafe.Pointer, bodyLen uint32, timeoutMillis uint32,
	answer unsafe.Pointer,
)

//go:wasmimport crossdock:plugin/http-client@0.1.0 send-all
func httpSendAll(requests, requestsLen uint32, answer unsafe.Pointer)

//go:wasmimport crossdock:plugin/clock@0.1.0 now-ms
func clockNowMs() uint64

//go:wasmimport crossdock:plugin/random@0.1.0 next-u64
func randomNextU64() uint64

var (
	tableErrors = []string{"denied", "invalid", "failed"}
	httpErrors  = []string{"denied", "invalid", "unauthenticated", "unreachable", "too-large"}
)

func init() {
	contract.Imports = contract.Host{
		Log:     func(level uint8, message string) { logWrite(uint32(level), message) },
		Count:   metricsCount,
		Gauge:   metricsGauge,
		GetMany: getMany,
		Find:    find,
		Put:     put,
		Send:    send,
		SendAll: sendAll,
		NowMs:   clockNowMs,
		NextU64: randomNextU64,
	}
}

// answer is where the host puts what a call of it gives: 6 words, since all of them are words.
type answer [6]uint32

// asked runs a call and takes what has arrived with its answer.
func asked(call func(at unsafe.Pointer)) *answer {
	words := new(answer)
	call(unsafe.Pointer(words))
	return words
}

// taken is told when all that has arrived is in slices of Go, and the host has read what it was given.
func taken() {
	clear(arrived)
	arrived = arrived[:0]
	clear(given)
	given = given[:0]
}

func failureOf(cases []string, words []uint32) *contract.Failure {
	tag := "failed"
	if which := words[0] & 0xFF; int(which) < len(cases) {
		tag = cases[which]
	}
	return &contract.Failure{Tag: tag, Text: text(words[1], words[2])}
}

func packedOf(words *answer) (contract.Packed, *contract.Failure) {
	defer taken()
	if words[0]&0xFF != 0 {
		return contract.Packed{}, failureOf(tableErrors, words[1:])
	}
	return contract.Packed{Ends: list[uint32](words[1], words[2]), Data: list[byte](words[3], words[4])}, nil
}

func getMany(table string, keys contract.Packed) (contract.Packed, *contract.Failure) {
	return packedOf(asked(func(at unsafe.Pointer) {
		tablesGetMany(table, start(keys.Ends), count(keys.Ends), start(keys.Data), count(keys.Data), at)
	}))
}

func find(table, prefix, after string, limit uint32) (contract.Packed, *contract.Failure) {
	return packedOf(asked(func(at unsafe.Pointer) { tablesFind(table, prefix, after, limit, at) }))
}

func put(table string, entries contract.Packed) *contract.Failure {
	words := asked(func(at unsafe.Pointer) {
		tablesPut(table, start(entries.Ends), count(entries.Ends), start(entries.Data), count(entries.Data), at)
	})
	defer taken()
	if words[0]&0xFF != 0 {
		return failureOf(tableErrors, words[1:])
	}
	return nil
}

func start[T any](items []T) unsafe.Pointer {
	if len(items) == 0 {
		return nil
	}
	return unsafe.Pointer(unsafe.SliceData(items))
}

func count[T any](items []T) uint32 { return uint32(len(items)) }

func send(request contract.Request) contract.Answer {
	headers := newArea(8)
	putPairs(headers, 0, request.Headers)
	pair := list[uint32](headers.address(), 2)
	words := asked(func(at unsafe.Pointer) {
		httpSend(
			request.Connection, request.Method, request.URL, pair[0], pair[1],
			start(request.Body), count(request.Body), request.TimeoutMillis, at,
		)
	})
	defer taken()
	return answerOf(words[:])
}

func sendAll(requests []contract.Request) []contract.Answer {
	all := newArea(8)
	putAll(all, 0, requests, sizeOfRequest, putRequest)
	pair := list[uint32](all.address(), 2)
	words := asked(func(at unsafe.Pointer) { httpSendAll(pair[0], pair[1], at) })
	defer taken()
	answers := make([]contract.Answer, 0, words[1])
	for _, one := range list[answer](words[0], words[1]) {
		answers = append(answers, answerOf(one[:]))
	}
	return answers
}

// answerOf reads a result of http-client, which has six words: the case, then status, headers, body, or the case of the
// error and its text.
func answerOf(words []uint32) contract.Answer {
	if words[0]&0xFF != 0 {
		return contract.Answer{Failure: failureOf(httpErrors, words[1:])}
	}
	pairs := list[[4]uint32](words[2], words[3])
	response := &contract.Response{
		Status:  uint16(words[1]),
		Headers: make([][2]string, 0, len(pairs)),
		Body:    list[byte](words[4], words[5]),
	}
	for _, pair := range pairs {
		response.Headers = append(response.Headers, [2]string{text(pair[0], pair[1]), text(pair[2], pair[3])})
	}
	return contract.Answer{Response: response}
}
