//go:build wasip1 && crossdock

package abi

import (
	_ "syscall" // It says where relative paths begin before this package says it better.
	_ "unsafe"  // For the name of a variable of another package.
)

// A granted folder has the name that the grant says, `in`, and a path in a config begins with it: `in/a.csv`. Go would take
// the first folder for the place where all relative paths begin.
//
//go:linkname workingDirectory syscall.cwd
var workingDirectory string

func init() { workingDirectory = "." }
