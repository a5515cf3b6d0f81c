module {{name}}

go 1.24

require crossdock v0.0.0

// The guest library is in the project.
replace crossdock => ./sdk/go
