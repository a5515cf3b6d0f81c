import assert from "node:assert/strict";
import { test } from "node:test";
import { Driver, Host, answer } from "../../../guest-sdk/js/testing.js";
import { EnrichHttp } from "../src/plugin.ts";

const single = { connection: "crm", key: "customer.id", path: "/customers/{key}", into: "customer_data" };
const many = { ...single, path: "/customers?ids={keys}", many: { items: "data", size: 2 } };
const order = (id?: unknown) => ({ customer: id === undefined ? {} : { id } });

/** An API that knows every customer but those that begin with `x`, and is tired of those that begin with `t`. */
function crm() {
  const host = new Host();
  host.onHttp(({ url }) => {
    const [, path, query] = /^\/customers\/?(?:\?ids=)?(.*?)()$/.exec(url) ?? [];
    assert.equal(query, "");
    const ids = path!.split(",").map(decodeURIComponent);
    if (ids.some((id) => id.startsWith("t"))) return answer(503, "tired");
    const known = ids.filter((id) => !id.startsWith("x")).map((id) => ({ id, name: `name of ${id}`, secret: 1 }));
    if (url.includes("?")) return answer(200, { data: known });
    return known.length ? answer(200, known[0]) : answer(404);
  });
  return host;
}

test("each key is asked for once, and answers are kept", () => {
  const host = crm();
  const driver = new Driver(EnrichHttp, { ...single, pick: ["name"] });
  const { records } = driver.apply("orders", [order("a/1"), order("b"), order("a/1"), order(7)]);
  assert.deepEqual(records[0]!.value, { customer: { id: "a/1" }, customer_data: { name: "name of a/1" } });
  assert.deepEqual(host.requests.map(({ url }) => url), ["/customers/a%2F1", "/customers/b", "/customers/7"]);
  driver.apply("orders", [order("b"), order("c")]);
  assert.equal(host.requests.length, 4);
  assert.equal(host.counters["lookups_asked"], 4);
  host.now += 300_000;
  driver.apply("orders", [order("b")]);
  assert.equal(host.requests.length, 5, "after its time it is asked for again");
});

test("many keys go with one request", () => {
  const host = crm();
  const { records } = new Driver(EnrichHttp, many).apply("orders", ["a", "b", "c"].map(order));
  assert.deepEqual(records.map(({ value }) => value.customer_data.name), ["name of a", "name of b", "name of c"]);
  assert.deepEqual(host.requests.map(({ url }) => url), ["/customers?ids=a,b", "/customers?ids=c"]);
});

test("what is not known is kept, filtered or rejected", () => {
  crm();
  for (const config of [single, many]) {
    const apply = (missing: string) => new Driver(EnrichHttp, { ...config, missing }).apply("orders", [order("a"), order("x"), order()]);
    assert.equal(apply("keep").records.length, 3);
    assert.deepEqual(apply("filter").filtered, { "the API does not know it": 1, "no key in `customer.id`": 1 });
    assert.deepEqual(apply("reject").rejected.map(([index, fault]) => [index, fault.location]), [[1, "/customer/id"], [2, "/customer/id"]]);
  }
});

test("what could not be asked is rejected to be tried again, and not kept", () => {
  const host = crm();
  const driver = new Driver(EnrichHttp, single);
  const { rejected, records } = driver.apply("orders", [order("t"), order("a")]);
  assert.deepEqual(rejected.map(([index, fault]) => [index, fault.kind]), [[0, "transient"]]);
  assert.equal(records.length, 1);
  driver.apply("orders", [order("t")]);
  assert.equal(host.requests.length, 3);
});

test("a refused login is the operator's turn", () => {
  new Host().onHttp(() => answer(401));
  assert.throws(() => new Driver(EnrichHttp, single).apply("orders", [order("a")]), { kind: "config" });
});

test("the cache holds as many as it may", () => {
  const host = crm();
  const driver = new Driver(EnrichHttp, { ...single, cache: { entries: 1 } });
  for (const id of ["a", "b", "a"]) driver.apply("orders", [order(id)]);
  assert.equal(host.requests.length, 3);
});
