// Records of a batch, read only as far as the plugin looks, and batches that are given out.

import { Fault } from "./fault.js";
import { fromLatin1, isAscii, latin1, latinOf, textOf } from "./bytes.js";

const DELETE = 1;
/** The origin of a record that came from no record of the batch. */
const NOWHERE = 0xffffff;

/** Records of one stream. */
export class Batch {
  #index;
  #latin;
  #ascii;
  #records;

  constructor({ stream, form, index, data }) {
    this.stream = stream;
    this.form = form;
    this.data = data;
    this.#index = index;
    this.length = index.length >>> 2;
    this.#records = [];
  }

  /** The record at this position: always the same object. */
  at(position) {
    return (this.#records[position] ??= new Record(this, position));
  }

  *[Symbol.iterator]() {
    for (let at = 0; at < this.length; at++) yield this.at(at);
  }

  /** Part `word` (0 key, 1 headers, 2 payload) of a record, one character per byte. The whole batch is decoded once. */
  latin(position, word) {
    this.#latin ??= latin1(this.data);
    return this.#latin.slice(...this.range(position, word));
  }

  text(position, word) {
    const latin = this.latin(position, word);
    this.#ascii ??= isAscii(this.#latin);
    return this.#ascii ? latin : textOf(latin);
  }

  range(position, word) {
    const at = 4 * position + word;
    const start = word ? at - 1 : at - 2;
    return [start < 0 ? 0 : this.#index[start], this.#index[at]];
  }

  flags(position) {
    return this.#index[4 * position + 3];
  }
}

/** One record of a batch. */
export class Record {
  #value;
  #batch;

  constructor(batch, position) {
    this.#batch = batch;
    this.index = position;
  }

  get stream() { return this.#batch.stream; }
  get form() { return this.#batch.form; }
  get key() { return this.#batch.text(this.index, 0); }
  get op() { return (this.#batch.flags(this.index) & 0xff) === DELETE ? "delete" : "upsert"; }
  /** An object of texts. */
  get headers() {
    const text = this.headersText;
    return text ? JSON.parse(text) : {};
  }
  get bytes() { return this.#batch.data.slice(...this.#batch.range(this.index, 2)); }
  get text() {
    try {
      return this.#batch.text(this.index, 2);
    } catch {
      throw Fault.permanent("the payload is no UTF-8 text");
    }
  }
  /** The payload, parsed once. It may be changed in place and given out. */
  get value() {
    if (this.#value === undefined) {
      const text = this.text;
      try {
        this.#value = JSON.parse(text);
      } catch (error) {
        throw Fault.permanent(`the payload is no JSON: ${error.message}`);
      }
    }
    return this.#value;
  }

  get headersText() { return this.#batch.text(this.index, 1); }

  /** Itself, for a builder. */
  prepared() {
    const { stream, form, key, op, index } = this;
    const payload = form === "bytes" ? this.#batch.latin(index, 2) : this.text;
    return { stream, form, key, headers: this.headersText, payload, op, origin: index };
  }
}

/** A record that is given out. What is not said is as in the record it comes from. */
export class Output {
  /** @param value anything that JSON can say, or a `Uint8Array` */
  constructor(value, { stream, key, headers, op, position } = {}) {
    Object.assign(this, { value, stream, key, headers, op, position });
  }
}

/** Why a record goes nowhere. */
export class Filtered {
  constructor(reason) { this.reason = String(reason); }
}
export const filtered = (reason) => new Filtered(reason);

/** A batch that is being made. */
export class Builder {
  /** Key, headers and payload of each record: texts, or one character per byte when the payloads are bytes. */
  #parts = [];
  #flags = [];
  /** About how many bytes it has. */
  size = 0;

  constructor(stream, form) {
    this.stream = stream;
    this.form = form;
  }

  get count() { return this.#flags.length; }

  push({ key, headers, payload, op, origin = NOWHERE }) {
    const texts = this.form === "bytes" ? [latinOf(key), latinOf(headers)] : [key, headers];
    this.#parts.push(...texts, payload);
    this.#flags.push(((origin << 8) | (op === "delete" ? DELETE : 0)) >>> 0);
    this.size += key.length + headers.length + payload.length;
  }

  finish() {
    let all = this.#parts.join("");
    let parts = this.#parts;
    if (this.form === "json" && !isAscii(all)) {
      parts = parts.map(latinOf);
      all = parts.join("");
    }
    const index = new Uint32Array(4 * this.count);
    let end = 0;
    for (let at = 0, part = 0; part < parts.length; at += 4, part += 3) {
      index[at] = end += parts[part].length;
      index[at + 1] = end += parts[part + 1].length;
      index[at + 2] = end += parts[part + 2].length;
      index[at + 3] = this.#flags[at >>> 2];
    }
    return { stream: this.stream, form: this.form, index, data: fromLatin1(all) };
  }
}

export const formOf = (value) => (value instanceof Uint8Array ? "bytes" : "json");

const headersText = (headers) => (headers && Object.keys(headers).length ? JSON.stringify(headers) : "");

/** An `Output` made ready for a builder. `from` is the record it comes from. */
export function prepared(output, from) {
  const { value, op = from?.op } = output;
  const form = formOf(value);
  let payload;
  if (form === "bytes") payload = latin1(value);
  else payload = value === undefined && op === "delete" ? "{}" : JSON.stringify(value);
  if (payload === undefined) throw Fault.permanent("a record was given out without a value that JSON can say");
  return {
    stream: output.stream ?? from?.stream,
    form,
    key: output.key === undefined ? (from?.key ?? "") : String(output.key),
    headers: output.headers ? headersText(output.headers) : from ? from.headersText : "",
    payload,
    op,
    origin: from?.index,
  };
}

/** What goes on of one batch in a transformer. */
export class Given {
  #batch;
  #kept = [];
  /** By form and stream, once something else than input records is given out. */
  #builders;
  #rejected = [];
  #reasons = new Map();

  constructor(batch) { this.#batch = batch; }

  /** Calls `map` for each record; what it gives decides what becomes of it. A record for which it throws is rejected. */
  each(batch, map) {
    for (let at = 0; at < batch.length; at++) {
      const record = batch.at(at);
      try {
        this.give(record, map(record));
      } catch (thrown) {
        const fault = Fault.of(thrown);
        // It stops the run whichever record it came with.
        if (fault.kind === "config") throw fault;
        this.reject(record, fault);
      }
    }
  }

  /**
   * Decides about one record: itself, a value, an `Output`, `filtered(..)`, nothing, or several of them. When it throws,
   * nothing was given out.
   */
  give(record, result) {
    const decided = [];
    decide(record, result, decided);
    const out = decided.filter((one) => !(one instanceof Filtered));
    for (const one of out) {
      if (one === record) this.#pass(record);
      else this.#builder(one).push(one);
    }
    if (decided.length && !out.length) {
      const { reason } = decided[0];
      this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + 1);
    }
  }

  /** Refuses a record. */
  reject(record, fault) {
    this.#rejected.push({ index: record.index, fault: Fault.of(fault).toContract() });
  }

  #pass(record) {
    if (this.#builders || this.#kept.at(-1) === record.index) {
      const one = record.prepared();
      this.#builder(one).push(one);
    } else this.#kept.push(record.index);
  }

  #builder({ form, stream }) {
    if (!this.#builders) {
      this.#builders = new Map();
      for (const at of this.#kept) this.#pass(this.#batch.at(at));
    }
    const name = `${form} ${stream}`;
    let builder = this.#builders.get(name);
    if (!builder) this.#builders.set(name, (builder = new Builder(stream, form)));
    return builder;
  }

  finish() {
    let output;
    if (this.#builders) output = { tag: "replace", val: Array.from(this.#builders.values(), (builder) => builder.finish()) };
    else if (this.#kept.length === this.#batch.length) output = { tag: "pass" };
    else output = { tag: "select", val: Uint32Array.from(this.#kept) };
    return {
      output,
      rejected: this.#rejected.sort((a, b) => a.index - b.index),
      filtered: Array.from(this.#reasons, ([reason, count]) => ({ reason, count })).slice(0, 64),
    };
  }
}

function decide(record, result, decided) {
  if (result === undefined || result === null) return;
  if (result === record || result instanceof Filtered) decided.push(result);
  else if (result instanceof Output) decided.push(prepared(result, record));
  else if (typeof result.then === "function") throw Fault.permanent(NOT_ASYNC);
  else if (typeof result === "object" && Symbol.iterator in result && !(result instanceof Uint8Array)) {
    for (const one of result) decide(record, one, decided);
  } else decided.push(prepared(new Output(result), record));
}

export const NOT_ASYNC = "the plugin gave a promise: its functions are not async, and `http` waits by itself";

/** A batch of the contract with these values or `Output`s, for tests. */
export function batchOf(stream, records) {
  const all = records.map((record) => prepared(record instanceof Output ? record : new Output(record)));
  const builder = new Builder(stream, all[0]?.form ?? "json");
  for (const one of all) builder.push(one);
  return builder.finish();
}
