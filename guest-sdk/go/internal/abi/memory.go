//go:build wasip1

// Package abi connects a plugin to its host: the functions of the contract as WebAssembly has them, by the canonical ABI of
// the component model. Records and variants lie in memory as the comments of lower.go say.
package abi

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"unsafe"
)

var (
	// arrived has what the host has written into our memory and no function has taken yet: nothing else points to it.
	arrived [][]uint64
	// given has what the last call has answered: the host reads it after the call has returned.
	given []unsafe.Pointer
)

// realloc is where the host puts what it gives us. Go's collector does not move what it knows, so it is an ordinary slice.
//
//go:wasmexport cabi_realloc
func realloc(old, oldSize, _, size uint32) uint32 {
	if size == 0 {
		return 8
	}
	// Words of eight bytes: nothing in the contract has a larger alignment.
	block := make([]uint64, (uint64(size)+7)/8)
	arrived = append(arrived, block)
	if old != 0 && oldSize != 0 {
		start := unsafe.Pointer(unsafe.SliceData(block))
		copy(unsafe.Slice((*byte)(start), size), list[byte](old, min(oldSize, size)))
	}
	return address(unsafe.Pointer(unsafe.SliceData(block)))
}

// begin starts a call whose arguments are taken.
func begin() {
	clear(arrived)
	arrived = arrived[:0]
	clear(given)
	given = given[:0]
	Collect()
}

func address(start unsafe.Pointer) uint32 { return uint32(uintptr(start)) }

// list is what the host has put at an address.
func list[T any](start, count uint32) []T {
	if count == 0 {
		return nil
	}
	return unsafe.Slice((*T)(at(start)), count)
}

func text(start, count uint32) string {
	if count == 0 {
		return ""
	}
	return unsafe.String((*byte)(at(start)), count)
}

// at makes a pointer of an address in the memory of the module. An address is no Go pointer to the tool `vet`, though in
// WebAssembly there is no difference.
func at(start uint32) unsafe.Pointer {
	address := uintptr(start)
	return *(*unsafe.Pointer)(unsafe.Pointer(&address))
}

// Collecting garbage reads the clock, which traps while the host puts something into our memory: a cycle that Go starts by
// itself may end just then. So Go starts none, and we run one between two steps whenever there is enough to collect.
const growth = 16 << 20

var (
	heap = []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	// live is how much of the heap was in use after the last cycle.
	live uint64
)

func init() {
	debug.SetGCPercent(-1)
	// A recursion without an end is told instead of filling the memory.
	debug.SetMaxStack(32 << 20)
}

// Collect runs a cycle if the heap has grown since the last one.
func Collect() {
	metrics.Read(heap)
	if heap[0].Value.Uint64() < live+max(growth, live/4) {
		return
	}
	runtime.GC()
	metrics.Read(heap)
	live = heap[0].Value.Uint64()
}
