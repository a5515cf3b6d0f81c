module crossdock

go 1.24
