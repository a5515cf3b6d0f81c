package crossdock

import (
	"slices"

	"crossdock/internal/contract"
)

// Sink writes records.
type Sink interface {
	// Write writes a batch. Records that written is told are refused; an error refuses the batch as a whole.
	Write(batch *Batch, written *Written) error
}

// TransactionalSink writes in two phases: Snapshot makes everything written so far durable but not yet visible, or says how
// far it is. Commit makes it visible.
type TransactionalSink[S any] interface {
	Sink
	Snapshotter
	// Commit makes everything up to this snapshot visible. It may come twice.
	Commit(state *S) error
}

// InputFinisher is told that the input of a sink has ended. It is optional.
type InputFinisher interface {
	Finish() error
}

// RegisterSink registers a sink that keeps nothing between two batches.
func RegisterSink[C any, T Sink](open func(config C) (T, error), given ...Option[C]) {
	stage := &sink[C, T]{open: func(config C, _ []byte) (T, error) { return open(config) }}
	stage.options = optionsOf(given)
	contract.Registered.Sink = stage
}

// RegisterTransactionalSink registers a sink that can discard what came after a snapshot: opened with a state, it does so.
func RegisterTransactionalSink[C, S any, T TransactionalSink[S]](open func(config C, state *S) (T, error), given ...Option[C]) {
	stage := &sink[C, T]{open: func(config C, known []byte) (T, error) {
		state, err := decodeSnapshot[S](known)
		if err != nil {
			var none T
			return none, err
		}
		return open(config, state)
	}}
	stage.options = optionsOf(given)
	stage.snapshot = func(stage T) (any, error) { return stage.Snapshot() }
	stage.commit = func(stage T, known []byte) error {
		state, err := decodeSnapshot[S](known)
		if err != nil {
			return err
		}
		return stage.Commit(state)
	}
	contract.Registered.Sink = stage
}

// sink is the contract's.
type sink[C any, T Sink] struct {
	life[C, T]
	open   func(config C, known []byte) (T, error)
	commit func(stage T, known []byte) error
}

func (s *sink[C, T]) Check(config string) *contract.Fault { return s.check(config, nil) }

func (s *sink[C, T]) Open(config string, known []byte) *contract.Fault {
	return s.life.open(config, func(config C) (T, error) { return s.open(config, known) })
}

func (s *sink[C, T]) Write(wire contract.Batch) (done contract.Written, fault *contract.Fault) {
	fault = s.with(func(stage T) error {
		written := &Written{batch: newBatch(wire)}
		if err := stage.Write(written.batch, written); err != nil {
			return err
		}
		done = written.finish()
		return written.err
	})
	return done, fault
}

func (s *sink[C, T]) Finish() *contract.Fault {
	return s.with(func(stage T) error {
		if finisher, ok := any(stage).(InputFinisher); ok {
			return finisher.Finish()
		}
		return nil
	})
}

func (s *sink[C, T]) Commit(known []byte) *contract.Fault {
	return s.with(func(stage T) error {
		if s.commit == nil {
			return nil
		}
		return s.commit(stage, known)
	})
}

// Written takes what becomes of the records of a batch. All that are not refused count as written.
type Written struct {
	batch    *Batch
	rejected map[int]*contract.Fault
	receipts *builder
	err      error
}

// Each calls write for each record of the batch. An error rejects that record only, unless it is one of the config: then no
// other record would fare better, and it is returned.
func (w *Written) Each(write func(record *Record) error) error {
	for i := range w.batch.records {
		record := w.batch.Record(i)
		if err := w.Settle(record, guarded(func() error { return write(record) })); err != nil {
			return err
		}
	}
	return nil
}

// Settle says how writing a record went: nil, and it is written; an error, and it is refused. An error of the config is given
// back: it stops the run.
func (w *Written) Settle(record *Record, err error) error {
	if err == nil {
		return nil
	}
	if faultOf(err).Kind == KindConfig {
		return err
	}
	w.Reject(record, err)
	return nil
}

// Reject refuses a record. The first reason counts.
func (w *Written) Reject(record *Record, err error) {
	if w.rejected == nil {
		w.rejected = map[int]*contract.Fault{}
	}
	if _, known := w.rejected[record.index]; !known && err != nil {
		w.rejected[record.index] = wireFault(err)
	}
}

// Receipt tells what the target has answered about a record, for later stages and tables. All are of one stream.
func (w *Written) Receipt(output Output, record *Record) {
	one, err := prepare(output, record)
	if err == nil && w.receipts != nil && (w.receipts.wire.Stream != one.stream || w.receipts.wire.Form != one.form) {
		err = Permanent("receipts of one batch are of one stream: %q and %q", w.receipts.wire.Stream, one.stream)
	}
	if err != nil {
		if w.err == nil {
			w.err = err
		}
		return
	}
	if w.receipts == nil {
		w.receipts = newBuilder(one.stream, one.form)
	}
	w.receipts.push(one)
}

func (w *Written) finish() contract.Written {
	var done contract.Written
	for index, fault := range w.rejected {
		done.Rejected = append(done.Rejected, contract.Rejection{Index: uint32(index), Fault: fault})
	}
	slices.SortFunc(done.Rejected, func(a, b contract.Rejection) int { return int(a.Index) - int(b.Index) })
	if w.receipts != nil {
		done.Receipts = &w.receipts.wire
	}
	return done
}
