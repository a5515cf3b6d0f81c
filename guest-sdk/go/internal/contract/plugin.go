package contract

// Life has the calls that all kinds share.
type Life interface {
	Check(config string) *Fault
	Snapshot() ([]byte, *Fault)
	Close()
}

// Source has the contract's calls of a source.
type Source interface {
	Life
	Open(config string, snapshot []byte) *Fault
	Streams(config string) ([]StreamInfo, *Fault)
	Read(budget Budget) (Outcome, *Fault)
	Committed(snapshot []byte) *Fault
}

// Transformer has the contract's calls of a transformer.
type Transformer interface {
	Life
	Open(config string, snapshot []byte) (Mode, *Fault)
	Apply(batch Batch) (Applied, *Fault)
	Finish() ([]Batch, *Fault)
}

// Sink has the contract's calls of a sink.
type Sink interface {
	Life
	Open(config string, snapshot []byte) *Fault
	Write(batch Batch) (Written, *Fault)
	Finish() *Fault
	Commit(snapshot []byte) *Fault
}

// Plugin has what was registered: at most one of each kind.
type Plugin struct {
	Source      Source
	Transformer Transformer
	Sink        Sink
}

// Registered is the plugin of this program.
var Registered Plugin
