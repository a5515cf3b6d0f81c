package crossdock

import (
	"fmt"

	"crossdock/internal/contract"
)

// Transformer changes, filters, splits or routes records.
type Transformer interface {
	// Map says to out what becomes of a record. An error rejects this record only, and then nothing of it is given out. A
	// record for which nothing is said goes nowhere.
	Map(record *Record, out *Out) error
}

// StatefulTransformer gets batches in order, one instance all of them.
type StatefulTransformer interface {
	Transformer
	Snapshotter
}

// Preparer looks things up for a whole batch, before Map is called for each of its records. It is optional.
type Preparer interface {
	Prepare(batch *Batch) error
}

// Finisher gives out what was held back when the input has ended, each with its stream. It is optional.
type Finisher interface {
	Finish() ([]Output, error)
}

// RegisterTransformer registers a transformer for which every batch stands alone: the host may run several instances.
func RegisterTransformer[C any, T Transformer](open func(config C) (T, error), given ...Option[C]) {
	stage := &transformer[C, T]{open: func(config C, _ []byte) (T, error) { return open(config) }}
	stage.options = optionsOf(given)
	contract.Registered.Transformer = stage
}

// RegisterStatefulTransformer registers a transformer with state: state is what Snapshot gave in an earlier life, or nil.
func RegisterStatefulTransformer[C, S any, T StatefulTransformer](open func(config C, state *S) (T, error), given ...Option[C]) {
	stage := &transformer[C, T]{mode: contract.Stateful, open: func(config C, known []byte) (T, error) {
		state, err := decodeSnapshot[S](known)
		if err != nil {
			var none T
			return none, err
		}
		return open(config, state)
	}}
	stage.options = optionsOf(given)
	stage.snapshot = func(stage T) (any, error) { return stage.Snapshot() }
	contract.Registered.Transformer = stage
}

// transformer is the contract's.
type transformer[C any, T Transformer] struct {
	life[C, T]
	mode contract.Mode
	open func(config C, known []byte) (T, error)
}

func (t *transformer[C, T]) Check(config string) *contract.Fault {
	return t.check(config, func(config C) error {
		_, err := t.open(config, nil)
		return err
	})
}

func (t *transformer[C, T]) Open(config string, known []byte) (contract.Mode, *contract.Fault) {
	fault := t.life.open(config, func(config C) (T, error) { return t.open(config, known) })
	return t.mode, fault
}

func (t *transformer[C, T]) Apply(wire contract.Batch) (applied contract.Applied, fault *contract.Fault) {
	fault = t.with(func(stage T) error {
		batch := newBatch(wire)
		if preparer, ok := any(stage).(Preparer); ok {
			if err := preparer.Prepare(batch); err != nil {
				return err
			}
		}
		out := &Out{batch: batch}
		if err := out.each(stage); err != nil {
			return err
		}
		applied = out.finish()
		return nil
	})
	return applied, fault
}

func (t *transformer[C, T]) Finish() (batches []contract.Batch, fault *contract.Fault) {
	fault = t.with(func(stage T) error {
		finisher, ok := any(stage).(Finisher)
		if !ok {
			return nil
		}
		outputs, err := finisher.Finish()
		if err != nil {
			return err
		}
		var held builders
		for _, output := range outputs {
			one, err := prepare(output, nil)
			if err != nil {
				return err
			}
			if one.stream == "" {
				return Permanent("what `Finish` gives needs a `Stream`")
			}
			held.push(one)
		}
		batches = held.finish()
		return nil
	})
	return batches, fault
}

// Out takes what becomes of a record.
type Out struct {
	batch *Batch
	// record is the one that Map is called for.
	record *Record
	// staged is what was given for it: nothing is, when Map fails. An empty stream stands for the record itself.
	staged []ready
	passed []bool
	reason string
	err    error

	// kept has records that go on as they are, as long as nothing else goes on.
	kept     []uint32
	replaced *builders
	rejected []contract.Rejection
	filtered []contract.Tally
}

// Pass gives the record out as it is. Nothing is copied when all of a batch do.
func (o *Out) Pass() {
	o.staged = append(o.staged, ready{})
	o.passed = append(o.passed, true)
}

// Value gives out a value instead of the record's payload: see [Output].
func (o *Out) Value(value any) { o.Give(Output{Value: value}) }

// Give gives something out. What is not said is as in the record.
func (o *Out) Give(output Output) {
	one, err := prepare(output, o.record)
	if err != nil && o.err == nil {
		o.err = err
	}
	o.staged = append(o.staged, one)
	o.passed = append(o.passed, false)
}

// Filter says why the record goes nowhere. The summary of the run shows the reason, with a count.
func (o *Out) Filter(format string, args ...any) { o.reason = fmt.Sprintf(format, args...) }

// each calls Map for every record.
func (o *Out) each(stage Transformer) error {
	for i := range o.batch.records {
		o.record = o.batch.Record(i)
		o.staged, o.passed, o.reason, o.err = o.staged[:0], o.passed[:0], "", nil
		err := guarded(func() error { return stage.Map(o.record, o) })
		if err == nil {
			err = o.err
		}
		if err == nil {
			o.decide()
			continue
		}
		fault := faultOf(err)
		// It stops the run whichever record it came with.
		if fault.Kind == KindConfig {
			return err
		}
		o.rejected = append(o.rejected, contract.Rejection{Index: uint32(i), Fault: wireFault(err)})
	}
	return nil
}

// mostTallies is how many reasons are counted in one batch: a reason that has a value of the record in it is no reason.
const mostTallies = 64

func (o *Out) decide() {
	for i, one := range o.staged {
		if !o.passed[i] {
			o.replace().push(one)
			continue
		}
		index := uint32(o.record.index)
		if o.replaced == nil && (len(o.kept) == 0 || o.kept[len(o.kept)-1] != index) {
			o.kept = append(o.kept, index)
			continue
		}
		o.replace().push(asItIs(o.record))
	}
	if len(o.staged) > 0 || o.reason == "" {
		return
	}
	for i := range o.filtered {
		if o.filtered[i].Reason == o.reason {
			o.filtered[i].Count++
			return
		}
	}
	if len(o.filtered) < mostTallies {
		o.filtered = append(o.filtered, contract.Tally{Reason: o.reason, Count: 1})
	}
}

// replace gives the builders; what was kept so far goes there first.
func (o *Out) replace() *builders {
	if o.replaced == nil {
		o.replaced = new(builders)
		for _, index := range o.kept {
			o.replaced.push(asItIs(o.batch.Record(int(index))))
		}
	}
	return o.replaced
}

func (o *Out) finish() contract.Applied {
	applied := contract.Applied{Rejected: o.rejected, Filtered: o.filtered}
	switch {
	case o.replaced != nil:
		applied.How, applied.Batches = contract.Replace, o.replaced.finish()
	case len(o.kept) < o.batch.Len():
		applied.How, applied.Selected = contract.Select, o.kept
	}
	return applied
}
