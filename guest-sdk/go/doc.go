// Package crossdock is for plugins of crossdock that are written in Go. The README beside it is the guide.
//
// A plugin registers in a function init what it is: [RegisterSource], [RegisterTransformer], [RegisterSink]. Each takes a
// function that makes the plugin of its config, which is decoded from JSON into a type of the plugin's own.
package crossdock
