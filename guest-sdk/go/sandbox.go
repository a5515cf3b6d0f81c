//go:build wasip1

package crossdock

import "crossdock/internal/abi"

// collect gives back what is not used any more, if there is enough of it.
func collect() { abi.Collect() }
