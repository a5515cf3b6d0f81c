import assert from "node:assert/strict";
import { test } from "node:test";
import { Output } from "../sdk/js/index.js";
import { Driver, Host, answer } from "../sdk/js/testing.js";
import { {{Type}} } from "../src/plugin.ts";

test("each record is put under its key, and what is refused is rejected", () => {
  const host = new Host();
  host.onHttp(({ url }) => answer(url.endsWith("/bad") ? 422 : 204));
  const sink = new Driver({{Type}}, { connection: "shop" });
  const item = { name: "Cup" };
  const records = ["a/1", "bad", ""].map((key) => new Output(item, { key }));
  const { rejected } = sink.write("items", records);
  assert.deepEqual(rejected.map(([index]) => index), [1, 2]);
  assert.equal(host.requests[0].url, "/items/a%2F1");
  assert.equal(host.requests[0].text, JSON.stringify(item));
});

test("an item to delete that is not there is as good as deleted", () => {
  new Host().onHttp(({ method }) => answer(method === "DELETE" ? 404 : 500));
  const sink = new Driver({{Type}}, { connection: "shop" });
  assert.deepEqual(sink.write("items", [new Output({}, { key: "a", op: "delete" })]).rejected, []);
});
