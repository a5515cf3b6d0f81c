//go:build wasip1

package abi

import (
	"encoding/binary"
	"unsafe"

	"crossdock/internal/contract"
)

// area is memory for an answer; it stays where it is until the next call.
type area []byte

// Sizes of the contract's types in bytes. Each is a multiple of its alignment.
const (
	sizeOfFault      = 40 // case, then at 8: message, location, retry-after (case, then at 24), or message, field, advice
	sizeOfResult     = 8 + sizeOfFault
	sizeOfBatch      = 28 // stream, form, then at 12: index, data
	sizeOfRejection  = 8 + sizeOfFault
	sizeOfUnreadable = 8 + sizeOfFault
	sizeOfTally      = 12
	sizeOfStreamInfo = 28 // name, schema, key, incremental
	sizeOfRequest    = 44 // connection, method, url, headers, body, timeout-ms
	sizeOfPair       = 16
)

func newArea(size int) area {
	if size == 0 {
		return nil
	}
	start := unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
	given = append(given, start)
	return unsafe.Slice((*byte)(start), size)
}

func (a area) address() uint32 { return address(unsafe.Pointer(unsafe.SliceData(a))) }

func (a area) put(offset int, value uint32) { binary.LittleEndian.PutUint32(a[offset:], value) }

func (a area) putText(offset int, value string) {
	a.putList(offset, unsafe.Pointer(unsafe.StringData(value)), len(value))
}

func (a area) putBytes(offset int, value []byte) {
	a.putList(offset, unsafe.Pointer(unsafe.SliceData(value)), len(value))
}

func (a area) putWords(offset int, value []uint32) {
	a.putList(offset, unsafe.Pointer(unsafe.SliceData(value)), len(value))
}

// putList says where a list is and how many items it has. The memory is kept until the next call.
func (a area) putList(offset int, start unsafe.Pointer, count int) {
	if count == 0 {
		return
	}
	given = append(given, start)
	a.put(offset, address(start))
	a.put(offset+4, uint32(count))
}

// putAll lays the items of a list out one after the other.
func putAll[T any](a area, offset int, items []T, size int, put func(area, T)) {
	if len(items) == 0 {
		return
	}
	all := newArea(size * len(items))
	for i, item := range items {
		put(all[i*size:(i+1)*size:(i+1)*size], item)
	}
	a.put(offset, all.address())
	a.put(offset+4, uint32(len(items)))
}

func putFault(a area, fault *contract.Fault) {
	a[0] = byte(fault.Kind)
	a.putText(8, fault.Message)
	if fault.Kind == contract.Config {
		a.putText(16, fault.Field)
		a.putText(24, fault.Advice)
		return
	}
	a.putText(16, fault.Location)
	if fault.RetryAfter != nil {
		a[24] = 1
		binary.LittleEndian.PutUint64(a[32:], *fault.RetryAfter)
	}
}

func putBatch(a area, batch contract.Batch) {
	a.putText(0, batch.Stream)
	a[8] = byte(batch.Form)
	a.putWords(12, batch.Index)
	a.putBytes(20, batch.Data)
}

func putRejection(a area, rejection contract.Rejection) {
	a.put(0, rejection.Index)
	putFault(a[8:], rejection.Fault)
}

func putRejections(a area, offset int, rejections []contract.Rejection) {
	putAll(a, offset, rejections, sizeOfRejection, putRejection)
}

// result has the case in its first byte and the value at 8: every result of an exported function has a fault in it, whose
// alignment that is.
func result(fault *contract.Fault, put func(value area)) uint32 {
	a := newArea(sizeOfResult)
	if fault != nil {
		a[0] = 1
		putFault(a[8:], fault)
	} else if put != nil {
		put(a[8:])
	}
	return a.address()
}

func putApplied(a area, applied contract.Applied) {
	a[0] = byte(applied.How)
	switch applied.How {
	case contract.Select:
		a.putWords(4, applied.Selected)
	case contract.Replace:
		putAll(a, 4, applied.Batches, sizeOfBatch, putBatch)
	}
	putRejections(a, 12, applied.Rejected)
	putAll(a, 20, applied.Filtered, sizeOfTally, func(a area, tally contract.Tally) {
		a.putText(0, tally.Reason)
		a.put(8, tally.Count)
	})
}

func putWritten(a area, written contract.Written) {
	putRejections(a, 0, written.Rejected)
	if written.Receipts != nil {
		a[8] = 1
		putBatch(a[12:], *written.Receipts)
	}
}

func putOutcome(a area, outcome contract.Outcome) {
	switch {
	case outcome.End:
		a[0] = 2
	case outcome.Idle != nil:
		a[0] = 1
		a.put(4, *outcome.Idle)
	default:
		putBatch(a[4:], outcome.Records)
		putAll(a, 32, outcome.Unreadable, sizeOfUnreadable, func(a area, one contract.Unreadable) {
			a.putBytes(0, one.Data)
			putFault(a[8:], one.Fault)
		})
	}
}

func putStreamInfo(a area, info contract.StreamInfo) {
	a.putText(0, info.Name)
	a.putText(8, info.Schema)
	putAll(a, 16, info.Key, 8, func(a area, key string) { a.putText(0, key) })
	if info.Incremental {
		a[24] = 1
	}
}

func putPairs(a area, offset int, pairs [][2]string) {
	putAll(a, offset, pairs, sizeOfPair, func(a area, pair [2]string) {
		a.putText(0, pair[0])
		a.putText(8, pair[1])
	})
}

func putRequest(a area, request contract.Request) {
	a.putText(0, request.Connection)
	a.putText(8, request.Method)
	a.putText(16, request.URL)
	putPairs(a, 24, request.Headers)
	a.putBytes(32, request.Body)
	a.put(40, request.TimeoutMillis)
}
