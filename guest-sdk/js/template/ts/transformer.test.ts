import assert from "node:assert/strict";
import { test } from "node:test";
import { transform } from "../sdk/js/testing.js";
import { {{Type}} } from "../src/plugin.ts";

test("a field is changed, what lacks it is filtered, what is no text is rejected", () => {
  const { records, rejected, filtered } = transform({{Type}}, { field: "name" }, "items", [{ name: "straße", net: 9.9 }, { net: 1 }, { name: 7 }]);
  assert.deepEqual(records.map(({ value }) => value), [{ name: "STRASSE", net: 9.9 }]);
  assert.deepEqual(filtered, { "the field is missing": 1 });
  assert.equal(rejected[0][0], 2);
  assert.match(rejected[0][1].message, /`name` is no text: 7/);
});

test("small letters", () => {
  const { records } = transform({{Type}}, { field: "name", letters: "lower" }, "items", [{ name: "CUP" }]);
  assert.deepEqual(records[0].value, { name: "cup" });
});
