// Package contract has the types of the contract in wit/v0.1, the functions that a plugin exports, and those that its host
// offers. In the sandbox package abi connects both to the host, in tests package crossdocktest does.
package contract

// Form says what the payload of every record of a batch is.
type Form uint8

// The forms.
const (
	JSON Form = iota
	Bytes
)

// Words is the number of words of a record in the index of a batch.
const Words = 4

// Batch has the records of one stream, packed.
type Batch struct {
	Stream string
	Form   Form
	Index  []uint32
	Data   []byte
}

// Packed has many byte strings in one buffer.
type Packed struct {
	Ends []uint32
	Data []byte
}

// FaultKind decides what the host does next.
type FaultKind uint8

// The kinds, as the variant of the contract numbers them.
const (
	Transient FaultKind = iota
	Permanent
	Config
)

// Fault is the variant of the contract: Location and RetryAfter for the first two kinds, Field and Advice for the third.
type Fault struct {
	Kind    FaultKind
	Message string
	// Location says where.
	Location string
	// RetryAfter has milliseconds, when the other side asked to wait.
	RetryAfter *uint64
	// Field is a JSON pointer.
	Field  string
	Advice string
}

// Error makes a fault an error.
func (f *Fault) Error() string { return f.Message }

// Rejection refuses one record of a batch.
type Rejection struct {
	Index uint32
	Fault *Fault
}

// StreamInfo says what a source can read.
type StreamInfo struct {
	Name        string
	Schema      string
	Key         []string
	Incremental bool
}

// Budget says how much one read may return.
type Budget struct {
	Records uint32
	Bytes   uint32
	Millis  uint32
}

// Unreadable is input that is no record.
type Unreadable struct {
	Data  []byte
	Fault *Fault
}

// Outcome is what one read brought: a page, nothing now, or the end.
type Outcome struct {
	End bool
	// Idle has milliseconds.
	Idle       *uint32
	Records    Batch
	Unreadable []Unreadable
}

// Mode says how the host may run a transformer.
type Mode uint8

// The modes.
const (
	Stateless Mode = iota
	Stateful
)

// How says what becomes of a batch as a whole.
type How uint8

// The cases of a transformer's output.
const (
	Pass How = iota
	Select
	Replace
)

// Tally counts filtered records.
type Tally struct {
	Reason string
	Count  uint32
}

// Applied is what a transformer made of a batch.
type Applied struct {
	How      How
	Selected []uint32
	Batches  []Batch
	Rejected []Rejection
	Filtered []Tally
}

// Written is what a sink did with a batch.
type Written struct {
	Rejected []Rejection
	Receipts *Batch
}

// Request is one request to another system.
type Request struct {
	Connection string
	Method     string
	URL        string
	Headers    [][2]string
	Body       []byte
	// TimeoutMillis: 0 is the connection's default.
	TimeoutMillis uint32
}

// Response is its answer.
type Response struct {
	Status  uint16
	Headers [][2]string
	Body    []byte
}

// Failure is what a call of the host answered instead of a value: a case of the contract's variant, and a text.
type Failure struct {
	Tag  string
	Text string
}

// Error makes it an error.
func (f *Failure) Error() string { return f.Tag + ": " + f.Text }

// Answer is what came of one request: one of both.
type Answer struct {
	Response *Response
	Failure  *Failure
}
