//go:build wasip1

// Package abi connects a plugin to its host: the functions of the contract as WebAssembly has them, by the canonical ABI of
// the component model. Records and variants lie in memory as the comments of lower.go say.
package abi

import (
	"runtime/debug"
	"unsafe"
)

var (
	// arrived has what the host has written into our memory and no function has taken yet: nothing else points to it.
	arrived [][]uint64
	// given has what the last call has answered: the host reads it after the call has returned.
	given []unsafe.Pointer
)

// early is given out before Go can make slices: what stands between WASI and its present form needs a stack then, and a page
// for itself, 64 KiB each.
var early struct {
	block [32 << 10]uint64
	used  uint32
	over  bool
}

func init() {
	early.over = true
	// Of small heaps less often than Go does by itself.
	debug.SetGCPercent(200)
	// A recursion without an end is told instead of filling the memory.
	debug.SetMaxStack(32 << 20)
}

// While the host puts something into our memory, nothing of it may be called: not even its clock, which Go's collector reads.
// So neither a cycle begins then nor does anybody help one along, and the clock stands still. The runtime lets others link to
// procPin, and the adapter of WASI has its function for just this.

//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()

//go:wasmimport wasi_snapshot_preview1 adapter_monotonic_clock_set_paused
func pauseClock(paused bool)

// realloc is where the host puts what it gives us. Go's collector does not move what it knows, so it is an ordinary slice.
//
//go:wasmexport cabi_realloc
func realloc(old, oldSize, _, size uint32) uint32 {
	if size == 0 {
		return 8
	}
	// Words of eight bytes: nothing in the contract has a larger alignment.
	words := uint32((uint64(size) + 7) / 8)
	if !early.over {
		return startEarly(words)
	}
	procPin()
	pauseClock(true)
	block := make([]uint64, words)
	arrived = append(arrived, block)
	pauseClock(false)
	procUnpin()
	if old != 0 && oldSize != 0 {
		start := unsafe.Pointer(unsafe.SliceData(block))
		copy(unsafe.Slice((*byte)(start), size), list[byte](old, min(oldSize, size)))
	}
	return address(unsafe.Pointer(unsafe.SliceData(block)))
}

func startEarly(words uint32) uint32 {
	start := early.used
	// Beyond the end this is a trap, with the name of this function.
	early.used += words
	_ = early.block[early.used-1]
	return address(unsafe.Pointer(&early.block[start]))
}

// begin starts a call whose arguments are taken.
func begin() {
	clear(arrived)
	arrived = arrived[:0]
	clear(given)
	given = given[:0]
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
