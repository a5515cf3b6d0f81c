import assert from "node:assert/strict";
import { test } from "node:test";
import { Driver, Host, answer, readAll } from "../sdk/js/testing.js";
import { {{Type}} } from "../src/plugin.ts";

const config = { connection: "shop", page: 2 };

test("every item comes once, wherever it is interrupted", () => {
  const host = new Host();
  host.onHttp(({ url }) => {
    const after = url.split(/[=&]/)[1];
    return answer(200, ["a", "b", "c", "d", "e"].filter((id) => id > after).slice(0, 2).map((id) => ({ id })));
  });
  const records = readAll({{Type}}, config);
  assert.deepEqual(records.map(({ key }) => key), ["a", "b", "c", "d", "e"]);
  assert.equal(host.requests[0].url, "/items?after=&limit=2");
});

test("what the API refuses is told", () => {
  new Host().onHttp(() => answer(503, "come back later"));
  assert.throws(() => new Driver({{Type}}, config).read(), { kind: "transient", message: /503: come back later/ });
});
