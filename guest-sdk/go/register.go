package crossdock

import (
	"crossdock/internal/contract"
)

// Option adds something to a plugin that is registered. C is the type of its config.
type Option[C any] func(*options[C])

type options[C any] struct {
	check   func(config C) error
	streams func(config C) ([]Stream, error)
}

func optionsOf[C any](given []Option[C]) options[C] {
	var all options[C]
	for _, option := range given {
		option(&all)
	}
	return all
}

// WithCheck says what `crossdock check` does: can what the config names be reached? It has no side effects. Without it, the
// config is decoded, and a transformer is opened.
func WithCheck[C any](check func(config C) error) Option[C] {
	return func(all *options[C]) { all.check = check }
}

// WithStreams says what a source can read.
func WithStreams[C any](streams func(config C) ([]Stream, error)) Option[C] {
	return func(all *options[C]) { all.streams = streams }
}

// Snapshotter has state: what a new instance needs to continue.
type Snapshotter interface {
	// Snapshot gives anything that encoding/json can write, up to 1 MiB. `open` gets it in the next life.
	Snapshot() (any, error)
}

// Closer is told when it is not used any more. It is optional.
type Closer interface {
	Close() error
}

// life has what all kinds share: the author's stage, once it is open.
type life[C, T any] struct {
	stage   *T
	options options[C]
	// snapshot says what the stage knows.
	snapshot func(stage T) (any, error)
}

// get is the stage. The contract says that `open` comes first.
func (l *life[C, T]) get() (stage T, err error) {
	if l.stage == nil {
		return stage, Permanent("the host called before `open`")
	}
	return *l.stage, nil
}

// open replaces the stage with what `make` gives of a config.
func (l *life[C, T]) open(config string, make func(config C) (T, error)) *contract.Fault {
	l.stage = nil
	return wireFault(guarded(func() error {
		decoded, err := decodeConfig[C](config)
		if err != nil {
			return err
		}
		stage, err := make(decoded)
		if err == nil {
			l.stage = &stage
		}
		return err
	}))
}

// check decodes the config, and asks what the author has said; `otherwise` is what is done when that is nothing.
func (l *life[C, T]) check(config string, otherwise func(config C) error) *contract.Fault {
	return wireFault(guarded(func() error {
		decoded, err := decodeConfig[C](config)
		switch {
		case err != nil:
			return err
		case l.options.check != nil:
			return l.options.check(decoded)
		case otherwise != nil:
			return otherwise(decoded)
		default:
			return nil
		}
	}))
}

// with runs a call on the stage.
func (l *life[C, T]) with(call func(stage T) error) *contract.Fault {
	return wireFault(guarded(func() error {
		stage, err := l.get()
		if err != nil {
			return err
		}
		return call(stage)
	}))
}

// Snapshot is the contract's.
func (l *life[C, T]) Snapshot() (known []byte, fault *contract.Fault) {
	fault = l.with(func(stage T) error {
		if l.snapshot == nil {
			return nil
		}
		state, err := l.snapshot(stage)
		if err != nil {
			return err
		}
		known, err = encodeSnapshot(state)
		return err
	})
	return known, fault
}

// Close is the contract's. Nobody listens any more: what goes wrong is for the log.
func (l *life[C, T]) Close() {
	last := l.stage
	l.stage = nil
	if last == nil {
		return
	}
	if closer, ok := any(*last).(Closer); ok {
		if err := guarded(closer.Close); err != nil {
			Warnf("closing failed: %v", err)
		}
	}
}
