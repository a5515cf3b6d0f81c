module pii-mask

go 1.24

require crossdock v0.0.0

replace crossdock => ../../guest-sdk/go
