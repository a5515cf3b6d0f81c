package main

import (
	"strings"
	"testing"

	"crossdock/crossdocktest"
)

func TestAFieldIsChangedWhatLacksItIsFilteredWhatIsNoTextIsRejected(t *testing.T) {
	plugin := crossdocktest.OpenTransformer(t, Config{Field: "name"})
	done := plugin.Apply("items", `{"name":"tür","net":9.90}`, `{"net":1}`, `{"name":7}`)
	done.Gives(`{"name":"TÜR","net":9.90}`)
	if done.Filtered["the field is missing"] != 1 {
		t.Error(done.Filtered)
	}
	if fault := done.Rejected[2]; fault == nil || !strings.Contains(fault.Message, "`name` is no text: 7") {
		t.Error(fault)
	}
}

func TestSmallLetters(t *testing.T) {
	plugin := crossdocktest.OpenTransformer(t, Config{Field: "name", Letters: "lower"})
	plugin.Apply("items", `{"name":"CUP"}`).Gives(`{"name":"cup"}`)
}
