// What plugins are made of. README.md is the guide, index.d.ts has the types.

import { Fault } from "./fault.js";

export { Fault } from "./fault.js";
export { Batch, Output, Record, filtered } from "./batch.js";
export { Response, Table, clock, http, log, metrics, random } from "./host.js";
export { decode, encode } from "./bytes.js";

class Stage {
  /** Is the config usable, is what it names reachable? No side effects. */
  check(_config) {}
  /** Starts. `snapshot` is what `snapshot()` gave in an earlier life, or undefined. */
  open(_config, _snapshot) {}
  /** What a new instance needs to continue: anything that JSON can say. */
  snapshot() { return undefined; }
  close() {}
}

/** Changes, filters, splits or routes records. */
export class Transformer extends Stage {
  /** `true`: batches come in order to one instance, and `snapshot` holds what it knows. */
  stateful = false;
  /** By default: it can be opened. */
  check(config) { this.open(config, undefined); }
  /**
   * What becomes of a record: itself, a value, an `Output`, `filtered(reason)`, nothing, or several of them (a generator).
   * What is thrown rejects this record only.
   */
  map(record) { return record; }
  /** Works on a batch. Override it to look things up for the whole batch first, then call `given.each`. */
  apply(batch, given) { given.each(batch, (record) => this.map(record)); }
  /** The input has ended: `Output`s that were held back, each with its `stream`. */
  finish() { return []; }
}

/** Reads records. */
export class Source extends Stage {
  /** What can be read: `{ name, schema, key, incremental }`. */
  streams(_config) { return []; }
  /**
   * Gives `Output`s with a `stream` and a `position`: what has to be known to go on behind this record. `after` is the
   * position of the last record that was taken, undefined at the start. `idle(ms)`: nothing now. `unreadable(..)`: input
   * that is no record.
   */
  *records(_after) {
    throw Fault.permanent("this source has no `records`");
  }
  /** All up to this position is durable at every sink. May come twice. */
  committed(_position) {}
}

/** Writes records. */
export class Sink extends Stage {
  /** Writes one record. What is thrown rejects this record only. */
  writeRecord(_record) {
    throw Fault.permanent("this sink has neither `writeRecord` nor `write`");
  }
  /** Writes a batch. `written.reject(record, fault)` refuses a record; all others count as written. */
  write(batch, written) { written.each(batch, (record) => this.writeRecord(record)); }
  /** The input has ended. */
  finish() {}
  /** Makes everything up to this snapshot visible. May come twice. */
  commit(_snapshot) {}
}

/** Nothing now: ask again after this many milliseconds. */
export class Idle {
  constructor(ms) { this.ms = ms; }
}
export const idle = (ms) => new Idle(ms);

/** Input that is no record. It counts as read and becomes a dead letter. */
export class Unreadable {
  constructor(data, fault, { position } = {}) { Object.assign(this, { data, fault, position }); }
}
export const unreadable = (data, fault, details) => new Unreadable(data, fault, details);
