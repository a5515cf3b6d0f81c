package contract

import "time"

// Host has what the host of a plugin offers. Package abi fills it in the sandbox, package crossdocktest in tests.
type Host struct {
	Log     func(level uint8, message string)
	Count   func(name string, delta uint64)
	Gauge   func(name string, value float64)
	GetMany func(table string, keys Packed) (Packed, *Failure)
	Find    func(table, prefix, after string, limit uint32) (Packed, *Failure)
	Put     func(table string, entries Packed) *Failure
	Send    func(request Request) Answer
	SendAll func(requests []Request) []Answer
	NowMs   func() uint64
	NextU64 func() uint64
}

const outside = "there is no host here: in tests, make one with crossdocktest.NewHost"

// Imports are used by the library. Outside of the sandbox, and without a host for the test, what needs none works.
var Imports = Host{
	Log:     func(uint8, string) {},
	Count:   func(string, uint64) {},
	Gauge:   func(string, float64) {},
	GetMany: func(string, Packed) (Packed, *Failure) { panic(outside) },
	Find:    func(string, string, string, uint32) (Packed, *Failure) { panic(outside) },
	Put:     func(string, Packed) *Failure { panic(outside) },
	Send:    func(Request) Answer { panic(outside) },
	SendAll: func([]Request) []Answer { panic(outside) },
	NowMs:   func() uint64 { return uint64(time.Now().UnixMilli()) },
	NextU64: func() uint64 { panic(outside) },
}

// Pack puts texts into one buffer.
func Pack(texts []string) Packed {
	size := 0
	for _, text := range texts {
		size += len(text)
	}
	packed := Packed{Ends: make([]uint32, 0, len(texts)), Data: make([]byte, 0, size)}
	for _, text := range texts {
		packed.Data = append(packed.Data, text...)
		packed.Ends = append(packed.Ends, uint32(len(packed.Data)))
	}
	return packed
}

// Unpack gives the texts of a buffer.
func Unpack(packed Packed) []string {
	texts := make([]string, 0, len(packed.Ends))
	start := uint32(0)
	for _, end := range packed.Ends {
		texts = append(texts, string(packed.Data[start:end]))
		start = end
	}
	return texts
}
