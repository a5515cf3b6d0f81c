//go:build wasip1

package crossdock

import _ "crossdock/internal/abi" // It connects what is registered to the host.
