// Between the contract and the classes: what the component exports.

import { Batch, Builder, Given, NOT_ASYNC, Output, prepared } from "./batch.js";
import { decode, encode } from "./bytes.js";
import { Fault } from "./fault.js";
import { log } from "./host.js";
import { Idle, Sink, Source, Transformer, Unreadable } from "./index.js";

/** Runs a call. Whatever is thrown becomes the contract's fault: without that it would end the instance. */
function guarded(call) {
  try {
    const result = call();
    if (typeof result?.then === "function") throw Fault.permanent(NOT_ASYNC);
    return result;
  } catch (thrown) {
    throw Fault.of(thrown).toContract();
  }
}

const configOf = (text) => JSON.parse(text.trim() || "{}");
const toBytes = (value) => (value === undefined || value === null ? new Uint8Array() : encode(JSON.stringify(value)));
function fromBytes(bytes) {
  if (!bytes?.length) return undefined;
  try {
    return JSON.parse(decode(bytes));
  } catch {
    throw Fault.config("the snapshot is not one of this plugin");
  }
}
const notOpen = () => Fault.permanent("the host called before `open`");

/** What all kinds share. `make` gives a new instance of the author's class. */
function life(make) {
  let stage;
  const get = () => {
    if (!stage) throw notOpen();
    return stage;
  };
  return {
    get,
    check: (config) => guarded(() => void make().check(configOf(config))),
    open: (config, snapshot, before) => guarded(() => {
      stage = undefined;
      const next = make();
      const known = fromBytes(snapshot);
      const opened = next.open(configOf(config), known);
      if (typeof opened?.then === "function") throw Fault.permanent(NOT_ASYNC);
      stage = next;
      return before?.(next, known);
    }),
    snapshot: () => guarded(() => toBytes(get().snapshot())),
    close: () => {
      const last = stage;
      stage = undefined;
      // Nobody listens any more: what it throws is for the log.
      try { last?.close(); } catch (error) { log.warn("closing failed:", Fault.of(error).message); }
    },
  };
}

/** The contract's `transformer`. */
export function transformer(make) {
  const { get, check, open, snapshot, close } = life(make);
  return {
    check, snapshot, close,
    open: (config, known) => open(config, known, (stage) => (stage.stateful ? "stateful" : "stateless")),
    apply: (wire) => guarded(() => {
      const batch = new Batch(wire);
      const given = new Given(batch);
      const done = get().apply(batch, given);
      if (typeof done?.then === "function") throw Fault.permanent(NOT_ASYNC);
      return given.finish();
    }),
    finish: () => guarded(() => {
      const builders = new Map();
      for (const output of get().finish() ?? []) {
        const one = prepared(output);
        if (!one.stream) throw Fault.permanent("what `finish` gives needs a `stream`");
        const name = `${one.form} ${one.stream}`;
        if (!builders.has(name)) builders.set(name, new Builder(one.stream, one.form));
        builders.get(name).push(one);
      }
      return Array.from(builders.values(), (builder) => builder.finish());
    }),
  };
}

const END = Symbol("end");

/**
 * What an author's generator gives, one after the other, and how far it was taken: the last position, and the number of
 * items that came behind it without one. These are skipped when a new generator starts at that position.
 */
class Reader {
  #items;
  #waiting;
  #failed;

  constructor(stage, { at, skip = 0 } = {}) {
    Object.assign(this, { stage, at, skip });
  }

  get position() {
    return this.at === undefined && !this.skip ? undefined : { at: this.at, skip: this.skip || undefined };
  }

  /** The next item. It comes again until it is taken. */
  peek() {
    if (this.#failed) {
      const failed = this.#failed;
      this.#failed = undefined;
      throw failed;
    }
    if (this.#waiting === undefined) {
      try {
        this.#items ??= this.#start();
        const { done, value } = this.#items.next();
        this.#waiting = done ? END : value;
      } catch (thrown) {
        // The generator has ended with this: another one starts behind what was taken.
        this.#items = undefined;
        throw thrown;
      }
    }
    return this.#waiting;
  }

  take() {
    const { position } = this.#waiting;
    if (position !== undefined) Object.assign(this, { at: position, skip: 0 });
    else if (!(this.#waiting instanceof Idle)) this.skip++;
    this.#waiting = undefined;
  }

  /** What is thrown at the next call, since this one has something to give. */
  later(failed) { this.#failed = failed; }

  #start() {
    const made = this.stage.records(this.at);
    if (typeof made?.[Symbol.iterator] !== "function") throw Fault.permanent("`records` has to be a generator, or give a list");
    const items = made[Symbol.iterator]();
    for (let left = this.skip; left > 0; ) {
      const { done, value } = items.next();
      if (done) break;
      if (!(value instanceof Idle)) left--;
    }
    return items;
  }
}

/** What one `read` gives. */
class Page {
  builder;
  unreadable = [];

  get count() { return (this.builder?.count ?? 0) + this.unreadable.length; }

  /** Takes an item, or says that it is for the next page. */
  add(item, stage, budget) {
    if (item instanceof Unreadable) {
      const data = typeof item.data === "string" ? encode(item.data) : item.data;
      this.unreadable.push({ data, fault: Fault.of(item.fault).toContract() });
      return true;
    }
    const one = prepared(item instanceof Output ? item : new Output(item));
    one.stream ??= stage.stream;
    if (!one.stream) throw Fault.permanent("a record was given out without a `stream`");
    const { builder } = this;
    if (builder && (builder.stream !== one.stream || builder.form !== one.form)) return false;
    if (builder && builder.size + one.payload.length > budget.bytes) return false;
    (this.builder ??= new Builder(one.stream, one.form)).push(one);
    return true;
  }
}

function read(reader, budget) {
  const until = Date.now() + budget.millis;
  const page = new Page();
  while (page.count < budget.records) {
    try {
      const item = reader.peek();
      if (page.count === 0 && item === END) return { tag: "end" };
      if (page.count === 0 && item instanceof Idle) {
        reader.take();
        return { tag: "idle", val: Math.max(0, Math.ceil(item.ms)) };
      }
      if (item === END || item instanceof Idle || !page.add(item, reader.stage, budget)) break;
      reader.take();
    } catch (thrown) {
      if (page.count === 0) throw thrown;
      reader.later(thrown);
      break;
    }
    if (Date.now() >= until) break;
  }
  const records = page.builder ?? new Builder(reader.stage.stream ?? "records", "json");
  return { tag: "page", val: { records: records.finish(), unreadable: page.unreadable } };
}

/** The contract's `source`: pulls from the author's generator and remembers the position of what was given out. */
export function source(make) {
  const { get, check, open, close } = life(make);
  let reader;
  return {
    check, close,
    streams: (config) => guarded(() => make().streams(configOf(config)).map(({ name, schema, key = [], incremental = false }) => ({
      name, schema: schema === undefined ? "" : JSON.stringify(schema), key, incremental,
    }))),
    open: (config, known) => open(config, known, (stage, position) => {
      reader = new Reader(stage, position);
    }),
    read: (budget) => guarded(() => {
      get();
      return read(reader, budget);
    }),
    snapshot: () => guarded(() => {
      get();
      return toBytes(reader.position);
    }),
    committed: (known) => guarded(() => void get().committed(fromBytes(known)?.at)),
  };
}

class Written {
  rejected = [];
  receipts;
  each(batch, write) {
    for (const record of batch) this.attempt(record, write);
  }
  /** Calls `write` for a record; what it throws rejects the record. */
  attempt(record, write) {
    try {
      const done = write(record);
      if (typeof done?.then === "function") throw Fault.permanent(NOT_ASYNC);
    } catch (thrown) {
      const fault = Fault.of(thrown);
      // It is the operator's turn: no other record would fare better.
      if (fault.kind === "config") throw fault;
      this.reject(record, fault);
    }
  }
  reject(record, fault) { this.rejected.push({ index: record.index, fault: Fault.of(fault).toContract() }); }
  /** What the target answered: `Output`s of one stream. */
  receipt(output, record) {
    const one = prepared(output, record);
    this.receipts ??= new Builder(one.stream, one.form);
    this.receipts.push(one);
  }
}

/** The contract's `sink`. */
export function sink(make) {
  const { get, check, open, snapshot, close } = life(make);
  return {
    check, open: (config, known) => open(config, known), snapshot, close,
    write: (wire) => guarded(() => {
      const batch = new Batch(wire);
      const written = new Written();
      const done = get().write(batch, written);
      if (typeof done?.then === "function") throw Fault.permanent(NOT_ASYNC);
      const first = new Map(written.rejected.toReversed().map((one) => [one.index, one]));
      return { rejected: [...first.values()].sort((a, b) => a.index - b.index), receipts: written.receipts?.finish() };
    }),
    finish: () => guarded(() => void get().finish()),
    commit: (known) => guarded(() => void get().commit(fromBytes(known))),
  };
}

/** The author's class of a kind, among what their module exports. */
export function find(module, kind) {
  const base = { source: Source, transformer: Transformer, sink: Sink }[kind];
  const found = Object.values(module).find((one) => typeof one === "function" && one.prototype instanceof base);
  if (!found) throw new Error(`the plugin exports no class that extends ${base.name}`);
  return () => new found();
}
