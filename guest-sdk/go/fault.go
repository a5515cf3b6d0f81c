package crossdock

import (
	"errors"
	"fmt"
	"path"
	"runtime"
	"strings"
	"time"

	"crossdock/internal/contract"
)

// Kind is what the host does about a fault.
type Kind uint8

// The kinds of faults.
const (
	// KindTransient: it may work when tried again, and the host does that.
	KindTransient = Kind(contract.Transient)
	// KindPermanent: it will never work. The record becomes a dead letter.
	KindPermanent = Kind(contract.Permanent)
	// KindConfig: a person has to change the configuration. The run stops.
	KindConfig = Kind(contract.Config)
)

// String is the name of the kind.
func (k Kind) String() string {
	switch k {
	case KindTransient:
		return "transient"
	case KindConfig:
		return "config"
	default:
		return "permanent"
	}
}

// Fault is an error that says what the host does next. Any other error counts as permanent.
type Fault struct {
	Kind    Kind
	Message string
	// Location says where: a file and line, a URL, a path in the record.
	Location string
	// RetryAfter is how long the other side asked to wait, if it did.
	RetryAfter time.Duration
	// Field is a JSON pointer into the config: /files/0.
	Field string
	// Advice says what to do about it.
	Advice string

	cause error
}

// Error is the message.
func (f *Fault) Error() string { return f.Message }

// Unwrap is the error that was formatted with %w.
func (f *Fault) Unwrap() error { return f.cause }

func newFault(kind Kind, format string, args []any) *Fault {
	err := fmt.Errorf(format, args...)
	return &Fault{Kind: kind, Message: err.Error(), cause: errors.Unwrap(err)}
}

// Transient says that it may work when tried again.
func Transient(format string, args ...any) *Fault { return newFault(KindTransient, format, args) }

// Permanent says that it will never work. Returned for a record, that record becomes a dead letter.
func Permanent(format string, args ...any) *Fault { return newFault(KindPermanent, format, args) }

// ConfigError says that a person has to change a field of the config, a JSON pointer such as /files/0.
func ConfigError(field, format string, args ...any) *Fault {
	fault := newFault(KindConfig, format, args)
	fault.Field = field
	return fault
}

// At says where.
func (f *Fault) At(location string) *Fault {
	f.Location = location
	return f
}

// After says how long the other side asked to wait.
func (f *Fault) After(wait time.Duration) *Fault {
	f.RetryAfter = wait
	return f
}

// Advise says what to do about it.
func (f *Fault) Advise(format string, args ...any) *Fault {
	f.Advice = fmt.Sprintf(format, args...)
	return f
}

// faultOf is any error as a fault. One that wraps a fault keeps its kind and says more.
func faultOf(err error) *Fault {
	if err == nil {
		return nil
	}
	var fault *Fault
	if !errors.As(err, &fault) || fault == nil {
		return &Fault{Kind: KindPermanent, Message: err.Error(), cause: err}
	}
	if message := err.Error(); message != fault.Message {
		said := *fault
		said.Message = message
		return &said
	}
	return fault
}

// wireFault is the fault as the contract has it.
func wireFault(err error) *contract.Fault {
	fault := faultOf(err)
	if fault == nil {
		return nil
	}
	wire := &contract.Fault{Kind: contract.FaultKind(fault.Kind), Message: fault.Message}
	if fault.Kind == KindConfig {
		wire.Field, wire.Advice = fault.Field, fault.Advice
		return wire
	}
	wire.Location = fault.Location
	if fault.RetryAfter > 0 {
		millis := uint64(fault.RetryAfter.Milliseconds())
		wire.RetryAfter = &millis
	}
	return wire
}

// guarded runs a part of the plugin. A panic becomes an error that says where: without that it would end the instance.
func guarded(work func() error) (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = panicFault(panicked)
		}
	}()
	return work()
}

// panicFault is told in the function that recovers, so that the stack still has what has panicked.
func panicFault(panicked any) *Fault {
	frames := frames()
	fault := &Fault{Kind: KindPermanent, Message: fmt.Sprintf("panic: %v", panicked)}
	if cause, ok := panicked.(error); ok {
		fault.cause = cause
	}
	if len(frames) > 0 {
		fault.Message += " (at " + strings.Join(frames, ", ") + ")"
		fault.Location = frames[0][strings.LastIndexByte(frames[0], ' ')+1:]
	}
	return fault
}

// frames has the author's functions on the stack, the innermost first: `Letters.Map plugin.go:12`.
func frames() []string {
	callers := make([]uintptr, 64)
	stack := runtime.CallersFrames(callers[:runtime.Callers(3, callers)])
	var found []string
	for len(found) < 5 {
		frame, more := stack.Next()
		// What the compiler has made has no file.
		if name := authors(frame.Function); name != "" && !strings.HasPrefix(frame.File, "<") {
			found = append(found, fmt.Sprintf("%s %s:%d", name, path.Base(frame.File), frame.Line))
		}
		if !more {
			break
		}
	}
	return found
}

// authors is the short name of a function, or nothing for one of Go and of this library.
func authors(function string) string {
	own := strings.HasPrefix(function, "crossdock.") || strings.HasPrefix(function, "crossdock/")
	if function == "" || own || strings.HasPrefix(function, "runtime.") {
		return ""
	}
	name := function[strings.LastIndexByte(function, '/')+1:]
	name = strings.TrimPrefix(name, "main.")
	return strings.NewReplacer("(*", "", ")", "").Replace(name)
}
