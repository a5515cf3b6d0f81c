// Types of the guest library. `any` is what JSON gives: narrow it where you use it.

/** Details of a fault. */
export interface Details {
  /** Where: `prices.csv:17`, a URL, a path in the record. */
  location?: string;
  /** For transient faults: the other side asked to wait this long. */
  retryAfterMs?: number | undefined;
  /** For config faults: the field as a JSON pointer. */
  field?: string;
  /** For config faults: what to do. */
  advice?: string;
}

/** Why a call, or one record, failed. It decides what the host does next. Throw it. */
export class Fault extends Error {
  constructor(kind: "transient" | "permanent" | "config", message: string, details?: Details);
  readonly kind: "transient" | "permanent" | "config";
  readonly location: string;
  readonly retryAfterMs: number | undefined;
  readonly field: string;
  readonly advice: string;
  /** It may work when tried again: the host retries with backoff. */
  static transient(message: string, details?: Details): Fault;
  /** It will never work: the record becomes a dead letter. */
  static permanent(message: string, details?: Details): Fault;
  /** A person has to change the configuration: the run stops. */
  static config(message: string, details?: Details): Fault;
  /** Anything that was thrown, as a fault. */
  static of(thrown: unknown): Fault;
}

/** One record of a batch. Nothing of it is read before it is asked for. */
export class Record {
  private constructor();
  /** Its position in the batch. */
  readonly index: number;
  readonly stream: string;
  readonly form: "json" | "bytes";
  readonly key: string;
  readonly op: "upsert" | "delete";
  readonly headers: { [name: string]: string };
  /** The payload as it came. */
  readonly bytes: Uint8Array;
  readonly text: string;
  /** The payload, parsed once. It may be changed in place and given out. */
  readonly value: any;
}

/** Records of one stream. */
export class Batch implements Iterable<Record> {
  private constructor();
  readonly stream: string;
  readonly form: "json" | "bytes";
  readonly length: number;
  at(position: number): Record;
  [Symbol.iterator](): Iterator<Record>;
}

/** What is said of a record that is given out. What is left out is as in the record it comes from. */
export interface About<Position = unknown> {
  stream?: string;
  key?: string | number;
  headers?: { [name: string]: string };
  op?: "upsert" | "delete";
  /** In a source: what has to be known to go on behind this record. */
  position?: Position;
}

/** A record that is given out: anything that JSON can say, or bytes. */
export class Output<Position = unknown> {
  constructor(value: unknown, about?: About<Position>);
  readonly value: unknown;
}

declare class Filtered {
  private readonly reason: string;
}
/** This record goes nowhere. The summary of the run shows the reason, with a count. */
export function filtered(reason: string): Filtered;

declare class Idle {
  private readonly ms: number;
}
/** Nothing now: ask again after this many milliseconds. */
export function idle(ms: number): Idle;

declare class Unreadable {
  private readonly data: Uint8Array | string;
}
/** Input that is no record. It counts as read and becomes a dead letter. */
export function unreadable(data: Uint8Array | string, fault: unknown, details?: { position?: unknown }): Unreadable;

declare abstract class Stage<Config, Snapshot> {
  /** Is the config usable, is what it names reachable? No side effects. */
  check(config: Config): void;
  /** Starts. `snapshot` is what `snapshot()` gave in an earlier life. */
  open(config: Config, snapshot: Snapshot | undefined): void;
  /** What a new instance needs to continue: anything that JSON can say. */
  snapshot(): Snapshot | undefined;
  close(): void;
}

/** What becomes of the records of a batch. */
export interface Given {
  /** Calls `map` for each record. */
  each(batch: Batch, map: (record: Record) => unknown): void;
  /** Decides about one record. */
  give(record: Record, result: unknown): void;
  reject(record: Record, fault: unknown): void;
}

/** Changes, filters, splits or routes records. */
export abstract class Transformer<Config = any, Snapshot = any> extends Stage<Config, Snapshot> {
  /** `true`: batches come in order to one instance, and `snapshot` holds what it knows. */
  stateful: boolean;
  /**
   * What becomes of a record: itself, a value, an `Output`, `filtered(reason)`, nothing, or several of them (a generator).
   * What is thrown rejects this record only.
   */
  map(record: Record): unknown;
  /** Works on a batch. Override it to look things up for the whole batch first, then call `given.each`. */
  apply(batch: Batch, given: Given): void;
  /** The input has ended: what was held back. */
  finish(): Iterable<Output>;
}

/** What a source can read. */
export interface Stream {
  name: string;
  /** JSON Schema of the payload. */
  schema?: unknown;
  /** Fields that identify a record. */
  key?: string[];
  /** Whether a later run reads only what has changed since. */
  incremental?: boolean;
}

/** Reads records. Its snapshot is the position of the last record that was taken. */
export abstract class Source<Config = any, Position = any> {
  /** The stream of records that name none. */
  stream?: string;
  check(config: Config): void;
  streams(config: Config): Stream[];
  open(config: Config, position: Position | undefined): void;
  /** Gives the records behind a position, each with its own `position`. Calls wait by themselves: it is not async. */
  records(after: Position | undefined): Iterable<Output<Position> | Idle | Unreadable>;
  /** All up to this position is durable at every sink. May come twice. */
  committed(position: Position | undefined): void;
  close(): void;
}

/** What becomes of a batch in a sink. What is not rejected counts as written. */
export interface Written {
  /** Calls `write` for each record; what it throws rejects the record. */
  each(batch: Batch, write: (record: Record) => void): void;
  /** The same for one record. */
  attempt(record: Record, write: (record: Record) => void): void;
  reject(record: Record, fault: unknown): void;
  /** What the target answered, for later stages and tables. */
  receipt(output: Output, record: Record): void;
}

/** Writes records. */
export abstract class Sink<Config = any, Snapshot = any> extends Stage<Config, Snapshot> {
  /** Writes one record. What is thrown rejects this record only. */
  writeRecord(record: Record): void;
  /** Writes a batch; by default each record by `writeRecord`. */
  write(batch: Batch, written: Written): void;
  /** The input has ended. */
  finish(): void;
  /** Makes everything up to this snapshot visible. May come twice. */
  commit(snapshot: Snapshot | undefined): void;
}

/** A request. A body that is neither text nor bytes is sent as JSON. */
export interface Request {
  method?: string;
  /** Absolute, or a path below the connection's base URL. */
  url: string;
  /** Name of a granted connection. */
  connection?: string;
  headers?: { [name: string]: string } | [string, string][];
  body?: unknown;
  timeoutMs?: number;
}
export type RequestOptions = Omit<Request, "method" | "url" | "body">;

/** An answer. A status like 404 or 503 is one. */
export class Response {
  private constructor();
  readonly status: number;
  readonly headers: [string, string][];
  readonly bytes: Uint8Array;
  readonly ok: boolean;
  header(name: string): string | undefined;
  text(): string;
  json(): any;
  /** Itself, or throws the fault that its status stands for. */
  errorForStatus(): this;
  retryAfterMs(): number | undefined;
}

/** HTTP through the host, which adds the authentication of the connection and keeps its limits. No answer: a `Fault`. */
export const http: {
  send(request: Request): Response;
  /** As many at a time as the connection allows. Gives an answer or a fault for each, in order. */
  sendAll(requests: Request[]): (Response | Fault)[];
  get(url: string, options?: RequestOptions): Response;
  delete(url: string, options?: RequestOptions): Response;
  post(url: string, body: unknown, options?: RequestOptions): Response;
  put(url: string, body: unknown, options?: RequestOptions): Response;
  patch(url: string, body: unknown, options?: RequestOptions): Response;
};

/** A keyed map that flows share. Values are anything that JSON can say. Ask for many keys at once. */
export class Table<Value = any> {
  constructor(name: string);
  readonly name: string;
  get(key: string): Value | undefined;
  getMany(keys: string[]): (Value | undefined)[];
  find(prefix?: string, options?: { after?: string; limit?: number }): [string, Value][];
  put(key: string, value: Value | undefined): void;
  putMany(entries: Iterable<readonly [string, Value | undefined]>): void;
  remove(key: string): void;
}

type Line = (...words: unknown[]) => void;
/** Lines for the operator. */
export const log: { trace: Line; debug: Line; info: Line; warn: Line; error: Line };
/** Numbers for dashboards. Names are `[a-z0-9_]`. */
export const metrics: { count(name: string, delta?: number): void; gauge(name: string, value: number): void };
/** Milliseconds since 1970. */
export const clock: { now(): number };
export const random: { u64(): bigint };

/** UTF-8 to text; throws when it is none. */
export function decode(bytes: Uint8Array): string;
/** Text to UTF-8. */
export function encode(text: string): Uint8Array;
