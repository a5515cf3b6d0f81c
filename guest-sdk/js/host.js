// What the host offers. In the sandbox `host` has the contract's imports, in tests what `testing.js` puts there.

import { Fault } from "./fault.js";
import { decode, encode, latin1, fromLatin1, latinOf, textOf } from "./bytes.js";

const outside = () => {
  throw new Error("there is no host here: in tests, make one with `new Host()` of testing.js");
};

/** The contract's imports. */
export const host = {
  log: { write: () => {} },
  metrics: { count: () => {}, gauge: () => {} },
  tables: { getMany: outside, find: outside, put: outside },
  http: { send: outside, sendAll: outside },
  clock: { nowMs: () => BigInt(Date.now()) },
  random: { nextU64: outside },
};

const line = (level) => (...words) => host.log.write(level, words.map(shown).join(" "));
const shown = (word) => (typeof word === "string" ? word : word instanceof Error ? `${word.name}: ${word.message}` : JSON.stringify(word) ?? String(word));

/** Lines for the operator. The host adds flow, stage and plugin, and limits size and rate. */
export const log = {
  trace: line("trace"), debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error"),
};

/** Numbers for dashboards. Names are `[a-z0-9_]`. */
export const metrics = {
  // A number, though the contract has 64 bits: QuickJS traps at a BigInt.
  count: (name, delta = 1) => host.metrics.count(name, Number(delta)),
  gauge: (name, value) => host.metrics.gauge(name, value),
};

export const clock = { now: () => Number(host.clock.nowMs()) };
export const random = { u64: () => BigInt(host.random.nextU64()) };

/** What the contract's functions throw: `{ tag, val }`, possibly inside of an error. */
const failure = (thrown) => {
  const variant = thrown?.payload ?? thrown;
  return variant && typeof variant.tag === "string" ? variant : undefined;
};

function pack(texts) {
  const parts = texts.map(latinOf);
  let end = 0;
  return { ends: Uint32Array.from(parts, (part) => (end += part.length)), data: fromLatin1(parts.join("")) };
}

function unpack({ ends, data }) {
  const latin = latin1(data);
  return Array.from(ends, (end, at) => textOf(latin.slice(at ? ends[at - 1] : 0, end)));
}

const ofTable = (call) => {
  try {
    return call();
  } catch (thrown) {
    const { tag, val } = failure(thrown) ?? {};
    if (tag === "denied") throw Fault.config(val);
    if (tag === "invalid") throw Fault.permanent(val);
    if (tag === "failed") throw Fault.transient(val);
    throw thrown;
  }
};

const value = (text) => (text === "" ? undefined : JSON.parse(text));

/** A keyed map that flows share. Values are anything that JSON can say. Ask for many keys at once: a call is what costs. */
export class Table {
  constructor(name) { this.name = name; }
  get(key) { return this.getMany([key])[0]; }
  /** The values in the order of the keys; `undefined` where there is none. */
  getMany(keys) {
    if (!keys.length) return [];
    return unpack(ofTable(() => host.tables.getMany(this.name, pack(keys)))).map(value);
  }
  /** Up to `limit` entries `[key, value]` whose key starts with `prefix` and is greater than `after`. */
  find(prefix = "", { after = "", limit = 1000 } = {}) {
    const all = unpack(ofTable(() => host.tables.find(this.name, prefix, after, limit)));
    return Array.from({ length: all.length / 2 }, (_, at) => [all[2 * at], value(all[2 * at + 1])]);
  }
  put(key, entry) { this.putMany([[key, entry]]); }
  /** `undefined` removes an entry. Takes pairs, or a Map. */
  putMany(entries) {
    const texts = [...entries].flatMap(([key, entry]) => [key, entry === undefined ? "" : JSON.stringify(entry)]);
    if (texts.length) ofTable(() => host.tables.put(this.name, pack(texts)));
  }
  remove(key) { this.putMany([[key, undefined]]); }
}

/** An answer of another system. A status like 404 or 503 is one. */
export class Response {
  constructor({ status, headers = [], body = new Uint8Array() }, url = "") {
    Object.assign(this, { status, headers, bytes: body, url });
  }
  get ok() { return this.status >= 200 && this.status < 300; }
  header(name) {
    const wanted = name.toLowerCase();
    return this.headers.find(([known]) => known.toLowerCase() === wanted)?.[1];
  }
  text() {
    try { return decode(this.bytes); } catch { return latin1(this.bytes); }
  }
  json() {
    try {
      return JSON.parse(decode(this.bytes));
    } catch (error) {
      throw Fault.permanent(`the response is not the JSON that was expected: ${error.message}; ${this.#start()}`, { location: this.url });
    }
  }
  /** Itself, or throws the fault that its status stands for. */
  errorForStatus() {
    const { status } = this;
    if (status < 400) return this;
    const message = `the server answered ${status}: ${this.#start()}`;
    const details = { location: this.url, retryAfterMs: this.retryAfterMs() };
    if (status === 401 || status === 403) throw Fault.config(message, { ...details, advice: "check the connection's user and its rights" });
    if (status === 408 || status === 425 || status === 429 || status >= 500) throw Fault.transient(message, details);
    throw Fault.permanent(message, details);
  }
  retryAfterMs() {
    const asked = this.header("retry-after")?.trim();
    if (!asked) return undefined;
    if (/^\d+$/.test(asked)) return Number(asked) * 1000;
    const at = Date.parse(asked);
    return Number.isNaN(at) ? undefined : Math.max(0, at - clock.now());
  }
  #start() {
    const text = this.text().trim().replace(/\s+/g, " ");
    if (!text) return "(empty body)";
    return text.length > 200 ? `${text.slice(0, 200)}…` : text;
  }
}

function wire(request) {
  const { method = "GET", url, connection = "", headers = {}, body, timeoutMs = 0 } = request;
  const list = Array.isArray(headers) ? headers.slice() : Object.entries(headers).map(([name, text]) => [name, String(text)]);
  let bytes = body ?? new Uint8Array();
  if (!(bytes instanceof Uint8Array)) {
    if (typeof bytes !== "string") {
      bytes = JSON.stringify(bytes);
      if (!list.some(([name]) => name.toLowerCase() === "content-type")) list.push(["content-type", "application/json"]);
    }
    bytes = encode(bytes);
  }
  return { connection, method, url, headers: list, body: bytes, timeoutMs: timeoutMs && Math.max(1, Math.ceil(timeoutMs)) };
}

/** Why a request got no response, as a fault. */
function unanswered(variant, url) {
  const { tag, val } = variant;
  if (tag === "denied") return Fault.config(val, { location: url });
  if (tag === "unauthenticated") return Fault.config(val, { location: url, advice: "check the connection's user, password and client" });
  if (tag === "unreachable") return Fault.transient(val, { location: url });
  return Fault.permanent(val, { location: url });
}

/** HTTP through the host, which adds the authentication of the connection and keeps its limits. */
export const http = {
  /** Sends `{ method, url, connection, headers, body, timeoutMs }`. A body that is neither text nor bytes is sent as JSON. */
  send(request) {
    try {
      return new Response(host.http.send(wire(request)), request.url);
    } catch (thrown) {
      const variant = failure(thrown);
      throw variant ? unanswered(variant, request.url) : thrown;
    }
  },
  /** Sends all of them, as many at a time as the connection allows. Gives a `Response` or a `Fault` for each, in order. */
  sendAll(requests) {
    if (!requests.length) return [];
    const answers = host.http.sendAll(requests.map(wire));
    return answers.map((answer, at) => {
      const { url } = requests[at];
      const { tag, val } = answer;
      return tag === "ok" ? new Response(val, url) : unanswered(val, url);
    });
  },
  get: (url, options) => http.send({ ...options, method: "GET", url }),
  delete: (url, options) => http.send({ ...options, method: "DELETE", url }),
  post: (url, body, options) => http.send({ ...options, method: "POST", url, body }),
  put: (url, body, options) => http.send({ ...options, method: "PUT", url, body }),
  patch: (url, body, options) => http.send({ ...options, method: "PATCH", url, body }),
};
