//go:build wasip1

package abi

import "crossdock/internal/contract"

func batchOf(stream, streamLen, form, index, indexLen, data, dataLen uint32) contract.Batch {
	return contract.Batch{
		Stream: text(stream, streamLen),
		Form:   contract.Form(form),
		Index:  list[uint32](index, indexLen),
		Data:   list[byte](data, dataLen),
	}
}

// known is the snapshot that an instance is opened with; none is nil, an empty one is not.
func known(given, start, count uint32) []byte {
	if given == 0 {
		return nil
	}
	return append([]byte{}, list[byte](start, count)...)
}

func notRegistered(kind, function string) *contract.Fault {
	return &contract.Fault{
		Kind:    contract.Config,
		Message: "the program has registered no " + kind,
		Advice:  "its author calls crossdock." + function + " in a function `init`",
	}
}

func source() (contract.Source, *contract.Fault) {
	if plugin := contract.Registered.Source; plugin != nil {
		return plugin, nil
	}
	return nil, notRegistered("source", "RegisterSource")
}

func transformer() (contract.Transformer, *contract.Fault) {
	if plugin := contract.Registered.Transformer; plugin != nil {
		return plugin, nil
	}
	return nil, notRegistered("transformer", "RegisterTransformer")
}

func sink() (contract.Sink, *contract.Fault) {
	if plugin := contract.Registered.Sink; plugin != nil {
		return plugin, nil
	}
	return nil, notRegistered("sink", "RegisterSink")
}

func snapshotOf(plugin contract.Life) uint32 {
	snapshot, fault := plugin.Snapshot()
	return result(fault, func(a area) { a.putBytes(0, snapshot) })
}

//go:wasmexport crossdock:plugin/source@0.1.0#check
func sourceCheck(config, configLen uint32) uint32 {
	given := text(config, configLen)
	begin()
	plugin, fault := source()
	if fault == nil {
		fault = plugin.Check(given)
	}
	return result(fault, nil)
}

//go:wasmexport crossdock:plugin/source@0.1.0#streams
func sourceStreams(config, configLen uint32) uint32 {
	given := text(config, configLen)
	begin()
	plugin, fault := source()
	var streams []contract.StreamInfo
	if fault == nil {
		streams, fault = plugin.Streams(given)
	}
	return result(fault, func(a area) { putAll(a, 0, streams, sizeOfStreamInfo, putStreamInfo) })
}

//go:wasmexport crossdock:plugin/source@0.1.0#open
func sourceOpen(config, configLen, has, snapshot, snapshotLen uint32) uint32 {
	given, known := text(config, configLen), known(has, snapshot, snapshotLen)
	begin()
	plugin, fault := source()
	if fault == nil {
		fault = plugin.Open(given, known)
	}
	return result(fault, nil)
}

//go:wasmexport crossdock:plugin/source@0.1.0#read
func sourceRead(records, bytes, millis uint32) uint32 {
	begin()
	plugin, fault := source()
	var outcome contract.Outcome
	if fault == nil {
		outcome, fault = plugin.Read(contract.Budget{Records: records, Bytes: bytes, Millis: millis})
	}
	return result(fault, func(a area) { putOutcome(a, outcome) })
}

//go:wasmexport crossdock:plugin/source@0.1.0#snapshot
func sourceSnapshot() uint32 {
	begin()
	plugin, fault := source()
	if fault != nil {
		return result(fault, nil)
	}
	return snapshotOf(plugin)
}

//go:wasmexport crossdock:plugin/source@0.1.0#committed
func sourceCommitted(snapshot, snapshotLen uint32) uint32 {
	known := known(1, snapshot, snapshotLen)
	begin()
	plugin, fault := source()
	if fault == nil {
		fault = plugin.Committed(known)
	}
	return result(fault, nil)
}

//go:wasmexport crossdock:plugin/source@0.1.0#close
func sourceClose() {
	begin()
	if plugin, fault := source(); fault == nil {
		plugin.Close()
	}
}

//go:wasmexport crossdock:plugin/transformer@0.1.0#check
func transformerCheck(config, configLen uint32) uint32 {
	given := text(config, configLen)
	begin()
	plugin, fault := transformer()
	if fault == nil {
		fault = plugin.Check(given)
	}
	return result(fault, nil)
}

//go:wasmexport crossdock:plugin/transformer@0.1.0#open
func transformerOpen(config, configLen, has, snapshot, snapshotLen uint32) uint32 {
	given, known := text(config, configLen), known(has, snapshot, snapshotLen)
	begin()
	plugin, fault := transformer()
	var mode contract.Mode
	if fault == nil {
		mode, fault = plugin.Open(given, known)
	}
	return result(fault, func(a area) { a[0] = byte(mode) })
}

//go:wasmexport crossdock:plugin/transformer@0.1.0#apply
func transformerApply(stream, streamLen, form, index, indexLen, data, dataLen uint32) uint32 {
	batch := batchOf(stream, streamLen, form, index, indexLen, data, dataLen)
	begin()
	plugin, fault := transformer()
	var applied contract.Applied
	if fault == nil {
		applied, fault = plugin.Apply(batch)
	}
	return result(fault, func(a area) { putApplied(a, applied) })
}

//go:wasmexport crossdock:plugin/transformer@0.1.0#finish
func transformerFinish() uint32 {
	begin()
	plugin, fault := transformer()
	var batches []contract.Batch
	if fault == nil {
		batches, fault = plugin.Finish()
	}
	return result(fault, func(a area) { putAll(a, 0, batches, sizeOfBatch, putBatch) })
}

//go:wasmexport crossdock:plugin/transformer@0.1.0#snapshot
func transformerSnapshot() uint32 {
	begin()
	plugin, fault := transformer()
	if fault != nil {
		return result(fault, nil)
	}
	return snapshotOf(plugin)
}

//go:wasmexport crossdock:plugin/transformer@0.1.0#close
func transformerClose() {
	begin()
	if plugin, fault := transformer(); fault == nil {
		plugin.Close()
	}
}

//go:wasmexport crossdock:plugin/sink@0.1.0#check
func sinkCheck(config, configLen uint32) uint32 {
	given := text(config, configLen)
	begin()
	plugin, fault := sink()
	if fault == nil {
		fault = plugin.Check(given)
	}
	return result(fault, nil)
}

//go:wasmexport crossdock:plugin/sink@0.1.0#open
func sinkOpen(config, configLen, has, snapshot, snapshotLen uint32) uint32 {
	given, known := text(config, configLen), known(has, snapshot, snapshotLen)
	begin()
	plugin, fault := sink()
	if fault == nil {
		fault = plugin.Open(given, known)
	}
	return result(fault, nil)
}

//go:wasmexport crossdock:plugin/sink@0.1.0#write
func sinkWrite(stream, streamLen, form, index, indexLen, data, dataLen uint32) uint32 {
	batch := batchOf(stream, streamLen, form, index, indexLen, data, dataLen)
	begin()
	plugin, fault := sink()
	var written contract.Written
	if fault == nil {
		written, fault = plugin.Write(batch)
	}
	return result(fault, func(a area) { putWritten(a, written) })
}

//go:wasmexport crossdock:plugin/sink@0.1.0#finish
func sinkFinish() uint32 {
	begin()
	plugin, fault := sink()
	if fault == nil {
		fault = plugin.Finish()
	}
	return result(fault, nil)
}

//go:wasmexport crossdock:plugin/sink@0.1.0#snapshot
func sinkSnapshot() uint32 {
	begin()
	plugin, fault := sink()
	if fault != nil {
		return result(fault, nil)
	}
	return snapshotOf(plugin)
}

//go:wasmexport crossdock:plugin/sink@0.1.0#commit
func sinkCommit(snapshot, snapshotLen uint32) uint32 {
	known := known(1, snapshot, snapshotLen)
	begin()
	plugin, fault := sink()
	if fault == nil {
		fault = plugin.Commit(known)
	}
	return result(fault, nil)
}

//go:wasmexport crossdock:plugin/sink@0.1.0#close
func sinkClose() {
	begin()
	if plugin, fault := sink(); fault == nil {
		plugin.Close()
	}
}
