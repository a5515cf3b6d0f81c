package crossdock

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// decodeConfig reads a config into a type of the plugin's. The host has checked it against the schema in plugin.json; what
// the type says beyond that is told with the field.
func decodeConfig[C any](text string) (config C, err error) {
	if strings.TrimSpace(text) == "" {
		text = "{}"
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	if err := decoder.Decode(&config); err != nil {
		return config, configFault(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return config, ConfigError("", "there is something behind the config's JSON")
	}
	return config, nil
}

func configFault(err error) *Fault {
	// An UnmarshalJSON of the plugin's own may say it better.
	var fault *Fault
	if errors.As(err, &fault) {
		return fault
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return ConfigError(pointer(wrong.Field), "expected %s, found a JSON %s", typeName(wrong), wrong.Value)
	}
	return ConfigError("", "the config cannot be read: %w", err)
}

func typeName(wrong *json.UnmarshalTypeError) string {
	switch name := wrong.Type.Kind().String(); {
	case strings.HasPrefix(name, "int") || strings.HasPrefix(name, "uint"):
		return "an integer that fits " + wrong.Type.String()
	case strings.HasPrefix(name, "float"):
		return "a number"
	case name == "string":
		return "a text"
	case name == "bool":
		return "true or false"
	case name == "slice" || name == "array":
		return "a list"
	case name == "map" || name == "struct":
		return "an object"
	default:
		return "a value for " + wrong.Type.String()
	}
}

// pointer is a path of encoding/json, `files.name`, as a JSON pointer.
func pointer(path string) string {
	if path == "" {
		return ""
	}
	return "/" + strings.ReplaceAll(path, ".", "/")
}

// decodeSnapshot reads what the plugin has said in an earlier life. Nothing is nil.
func decodeSnapshot[S any](known []byte) (*S, error) {
	if len(known) == 0 {
		return nil, nil
	}
	state := new(S)
	if err := json.Unmarshal(known, state); err != nil {
		return nil, ConfigError("", "the snapshot is not one of this plugin: %v", err)
	}
	return state, nil
}

// encodeSnapshot is what a plugin says, as the host keeps it.
func encodeSnapshot(state any) ([]byte, error) {
	if state == nil {
		return nil, nil
	}
	text, err := json.Marshal(state)
	if err != nil {
		return nil, Permanent("the snapshot cannot be said in JSON: %w", err)
	}
	return text, nil
}
