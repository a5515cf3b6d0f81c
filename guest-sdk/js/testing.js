// Tests without a sandbox: drives a plugin as the host does, with tables, answers and a clock of your choice.

import { Batch, batchOf } from "./batch.js";
import { decode, latin1, textOf } from "./bytes.js";
import { Fault } from "./fault.js";
import * as glue from "./glue.js";
import { Response, host } from "./host.js";
import { Sink, Source, Transformer } from "./index.js";

/** A host for one test. Making one replaces the last. */
export class Host {
  requests = [];
  logs = [];
  counters = {};
  gauges = {};
  now = 1_767_225_600_000;
  #tables = new Map();
  #answer = ({ url }) => { throw new Error(`nothing answers ${url}: tell it with \`onHttp\``); };

  constructor() {
    host.log = { write: (level, message) => void this.logs.push([level, message]) };
    host.metrics = {
      count: (name, delta) => { this.counters[name] = (this.counters[name] ?? 0) + Number(delta); },
      gauge: (name, value) => { this.gauges[name] = value; },
    };
    host.clock = { nowMs: () => BigInt(this.now) };
    let seed = 1n;
    host.random = { nextU64: () => (seed = (seed * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn) };
    host.tables = {
      getMany: (name, keys) => pack(unpack(keys).map((key) => this.#texts(name).get(key) ?? "")),
      put: (name, entries) => {
        const all = unpack(entries);
        for (let at = 0; at < all.length; at += 2) {
          if (all[at + 1] === "") this.#texts(name).delete(all[at]);
          else this.#texts(name).set(all[at], all[at + 1]);
        }
      },
      find: (name, prefix, after, limit) => {
        const keys = [...this.#texts(name).keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
        return pack(keys.slice(0, limit).flatMap((key) => [key, this.#texts(name).get(key)]));
      },
    };
    host.http = {
      send: (request) => this.#send(request),
      sendAll: (requests) => requests.map((request) => {
        try { return { tag: "ok", val: this.#send(request) }; } catch (thrown) {
          if (!thrown?.tag) throw thrown;
          return { tag: "err", val: thrown };
        }
      }),
    };
  }

  /** Who answers: gets a request, gives `answer(status, body, headers)`, or throws `refused("unreachable", "why")`. */
  onHttp(answer) { this.#answer = answer; }

  /** A table's entries, as a Map of values. Change them with `setTable`. */
  table(name) { return new Map([...this.#texts(name)].map(([key, text]) => [key, JSON.parse(text)])); }
  setTable(name, entries) {
    this.#tables.set(name, new Map(Object.entries(entries).map(([key, value]) => [key, JSON.stringify(value)])));
  }

  #texts(name) {
    if (!this.#tables.has(name)) this.#tables.set(name, new Map());
    return this.#tables.get(name);
  }

  #send(request) {
    this.requests.push({ ...request, text: decode(request.body), headers: Object.fromEntries(request.headers) });
    const { status, headers, bytes } = this.#answer(this.requests.at(-1));
    return { status, headers, body: bytes };
  }
}

/** An answer for `onHttp`. A body that is no text is sent as JSON. */
export function answer(status, body = "", headers = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return new Response({ status, headers: Object.entries(headers), body: new TextEncoder().encode(text) });
}

/** For `onHttp`: no answer comes. `tag`: denied, invalid, unauthenticated, unreachable, too-large. */
export const refused = (tag, val) => ({ tag, val });

const pack = (texts) => {
  const parts = texts.map((text) => new TextEncoder().encode(text));
  let end = 0;
  const ends = Uint32Array.from(parts, (part) => (end += part.length));
  const data = new Uint8Array(end);
  parts.forEach((part, at) => data.set(part, at ? ends[at - 1] : 0));
  return { ends, data };
};
const unpack = ({ ends, data }) => Array.from(ends, (end, at) => textOf(latin1(data.slice(at ? ends[at - 1] : 0, end))));

/** The contract's answer, or its fault as a `Fault`. */
function asked(call) {
  try {
    return call();
  } catch (thrown) {
    throw thrown?.tag ? faultOf(thrown) : thrown;
  }
}
const faultOf = ({ tag, val }) => new Fault(tag, val.message, { ...val, retryAfterMs: val.retryAfterMs === undefined ? undefined : Number(val.retryAfterMs) });
const rejections = (list) => list.map(({ index, fault }) => [index, faultOf(fault)]);
const recordsOf = (batch) => Array.from(new Batch(batch), ({ stream, key, op, headers, form, bytes, text }) => {
  return form === "bytes" ? { stream, key, op, headers, bytes } : { stream, key, op, headers, value: JSON.parse(text) };
});

/** A plugin's class, driven as the host drives it. */
export class Driver {
  #wire;
  #config;
  constructor(Class, config, snapshot) {
    const kind = Object.keys(BASES).find((name) => Class.prototype instanceof BASES[name]);
    this.#wire = glue[kind](() => new Class());
    this.#config = JSON.stringify(config);
    this.mode = asked(() => this.#wire.open(this.#config, snapshot));
  }
  /** The contract's snapshot: bytes. A new driver can be made of it. */
  snapshot() { return asked(() => this.#wire.snapshot()); }
  streams() { return asked(() => this.#wire.streams(this.#config)); }
  check() { return asked(() => this.#wire.check(this.#config)); }
  commit(snapshot) { return asked(() => this.#wire.commit(snapshot)); }
  committed(snapshot) { return asked(() => this.#wire.committed(snapshot)); }
  close() { this.#wire.close(); }

  /** Applies a batch of values or `Output`s. */
  apply(stream, values) {
    const batch = batchOf(stream, values);
    const { output, rejected, filtered } = asked(() => this.#wire.apply(batch));
    const all = recordsOf(batch);
    const gone = new Set(rejected.map(({ index }) => index));
    let records;
    if (output.tag === "pass") records = all;
    else if (output.tag === "select") records = Array.from(output.val, (at) => all[at]);
    else records = output.val.flatMap(recordsOf);
    if (output.tag === "pass" && gone.size) throw new Error("a batch was passed as a whole, and records of it rejected");
    return { how: output.tag, records, rejected: rejections(rejected), filtered: Object.fromEntries(filtered.map(({ reason, count }) => [reason, count])) };
  }
  /** The input of a transformer or sink has ended. */
  finish() { return asked(() => this.#wire.finish())?.flatMap(recordsOf); }

  /** One page of a source: `{ records, unreadable }`, `{ idle }` or `{ end: true }`. */
  read(budget = {}) {
    const { tag, val } = asked(() => this.#wire.read({ records: 1000, bytes: 1 << 20, millis: 1000, ...budget }));
    if (tag === "end") return { end: true };
    if (tag === "idle") return { idle: val };
    return { records: recordsOf(val.records), unreadable: val.unreadable.map(({ data, fault }) => ({ data, fault: faultOf(fault) })) };
  }

  /** Writes a batch of values or `Output`s: the refused records with their positions. */
  write(stream, values) {
    const { rejected, receipts } = asked(() => this.#wire.write(batchOf(stream, values)));
    return { rejected: rejections(rejected), receipts: receipts ? recordsOf(receipts) : [] };
  }
}

const BASES = { source: Source, transformer: Transformer, sink: Sink };

/** Opens a transformer and applies one batch. */
export const transform = (Class, config, stream, values) => new Driver(Class, config).apply(stream, values);

/**
 * All records of a source. It is read once in one go, and once with a new instance from a snapshot behind every record: both
 * must give the same.
 */
export function readAll(Class, config, budget) {
  const whole = [];
  const driver = new Driver(Class, config);
  for (let page = driver.read(budget); page.records; page = driver.read(budget)) whole.push(...page.records);
  const resumed = [];
  let snapshot;
  for (;;) {
    const next = new Driver(Class, config, snapshot);
    const page = next.read({ ...budget, records: 1 });
    if (!page.records) break;
    resumed.push(...page.records);
    snapshot = next.snapshot();
  }
  const [one, other] = [whole, resumed].map((records) => JSON.stringify(records));
  if (one !== other) throw new Error(`resumed behind every record it gives\n${other}\nand in one go\n${one}`);
  return whole;
}
