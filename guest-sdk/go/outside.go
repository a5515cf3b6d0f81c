//go:build !wasip1

package crossdock

// collect is for the sandbox: elsewhere Go collects by itself.
func collect() {}
