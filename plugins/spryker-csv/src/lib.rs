//! Writes the Spryker import CSV set and its import YAML.
