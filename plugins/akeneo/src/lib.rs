//! Reads a catalogue from the Akeneo PIM REST API.
