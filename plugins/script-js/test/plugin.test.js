import assert from "node:assert/strict";
import { test } from "node:test";
import { Driver, Host, answer, readAll, transform } from "../../../guest-sdk/js/testing.js";
import { ScriptSink, ScriptSource, ScriptTransformer } from "../src/plugin.js";

const values = ({ records }) => records.map(({ value }) => value);

test("a script maps, filters, splits and routes", () => {
  const script = `
    const rate = variables.rate;
    function* map(record) {
      const { price, tags = [] } = record.value;
      if (price === undefined) return yield filtered("no price");
      yield { ...record.value, gross: price * rate };
      for (const tag of tags) yield new Output({ tag }, { stream: "tags", key: tag });
    }`;
  const done = transform(ScriptTransformer, { script, variables: { rate: 2 } }, "items", [{ price: 3, tags: ["a"] }, {}]);
  assert.deepEqual(values(done), [{ price: 3, tags: ["a"], gross: 6 }, { tag: "a" }]);
  assert.deepEqual(done.filtered, { "no price": 1 });
});

test("an error in a record names the script's line and spares the other records", () => {
  const script = { name: "scripts/tidy.js", text: "function map(record) {\n  const item = record.value;\n  return item.a.b;\n}" };
  const { rejected, records } = transform(ScriptTransformer, { script }, "items", [{ a: { b: { c: 1 } } }, {}]);
  assert.equal(records.length, 1);
  assert.equal(rejected[0][0], 1);
  assert.equal(rejected[0][1].location, "scripts/tidy.js:3");
  assert.match(rejected[0][1].message, /TypeError: .*\(at map scripts\/tidy\.js:3\)/);
});

test("a script that is none is the operator's turn", () => {
  const open = (script) => () => new Driver(ScriptTransformer, { script });
  assert.throws(open("function other() {}"), { kind: "config", field: "/script", message: /neither `map` nor `apply`/ });
  assert.throws(open("const a = 1;\nnowhere();"), { kind: "config", message: /script:2: ReferenceError/ });
  assert.throws(open("const a = ;"), { kind: "config", message: /SyntaxError/ });
});

test("a script with a snapshot is stateful", () => {
  const script = `
    let sum = 0;
    function open(snapshot) { sum = snapshot ?? 0; }
    function map(record) { sum += record.value; return sum; }
    function snapshot() { return sum; }`;
  const first = new Driver(ScriptTransformer, { script });
  assert.equal(first.mode, "stateful");
  assert.deepEqual(values(first.apply("n", [1, 2])), [1, 3]);
  const second = new Driver(ScriptTransformer, { script }, first.snapshot());
  assert.deepEqual(values(second.apply("n", [4])), [7]);
});

test("a source goes on behind every record, with and without positions", () => {
  new Host().onHttp(({ url }) => answer(200, url.endsWith("=2") ? [] : [{ id: 1 }, { id: 2 }]));
  const pages = "function* records(after = 0) { for (const item of http.get(`/items?after=${after}`).json()) yield new Output(item, { key: item.id, position: item.id }) }";
  // Only the last position of this one leads to an empty page.
  assert.equal(new Driver(ScriptSource, { script: pages }).read().records.length, 2);
  const counted = "function* records() { yield* [{ n: 1 }, { n: 2 }, { n: 3 }] }";
  assert.deepEqual(readAll(ScriptSource, { script: counted, stream: "n" }).map(({ value }) => value.n), [1, 2, 3]);
});

test("a sink rejects what it cannot write", () => {
  const host = new Host();
  host.onHttp(({ text }) => answer(text.includes("bad") ? 400 : 200));
  const script = "function write(record) { http.post('/in', record.value).errorForStatus() }";
  const { rejected } = new Driver(ScriptSink, { script }).write("items", [{ a: "good" }, { a: "bad" }]);
  assert.deepEqual(rejected.map(([at]) => at), [1]);
  assert.equal(host.requests.length, 2);
});
