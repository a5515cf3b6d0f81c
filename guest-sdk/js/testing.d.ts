// Types of testing.js.

import type { Fault, Output, Response, Stream } from "./index.js";

/** A request as the host got it. */
export interface Asked {
  method: string;
  url: string;
  connection: string;
  headers: { [name: string]: string };
  text: string;
  body: Uint8Array;
}

/** A host for one test. Making one replaces the last. */
export class Host {
  requests: Asked[];
  logs: [string, string][];
  counters: { [name: string]: number };
  gauges: { [name: string]: number };
  /** What the clock says. */
  now: number;
  onHttp(answer: (request: Asked) => Response): void;
  table(name: string): Map<string, any>;
  setTable(name: string, entries: { [key: string]: unknown }): void;
}

/** An answer for `onHttp`. */
export function answer(status: number, body?: unknown, headers?: { [name: string]: string }): Response;
/** For `onHttp`: throw it, and no answer comes. */
export function refused(tag: "denied" | "invalid" | "unauthenticated" | "unreachable" | "too-large", message: string): unknown;

/** A record that came out. */
export interface Given {
  stream: string;
  key: string;
  op: "upsert" | "delete";
  headers: { [name: string]: string };
  value?: any;
  bytes?: Uint8Array;
}
export interface Applied {
  how: "pass" | "select" | "replace";
  records: Given[];
  rejected: [number, Fault][];
  filtered: { [reason: string]: number };
}
export interface Budget {
  records?: number;
  bytes?: number;
  millis?: number;
}
export interface Page {
  records?: Given[];
  unreadable?: { data: Uint8Array; fault: Fault }[];
  idle?: number;
  end?: true;
}
type Class = abstract new () => unknown;

/** A plugin's class, driven as the host drives it. */
export class Driver {
  constructor(plugin: Class, config: unknown, snapshot?: Uint8Array);
  readonly mode: "stateless" | "stateful" | undefined;
  snapshot(): Uint8Array;
  streams(): Stream[];
  check(): void;
  commit(snapshot: Uint8Array): void;
  committed(snapshot: Uint8Array): void;
  close(): void;
  apply(stream: string, values: unknown[]): Applied;
  finish(): Given[] | undefined;
  read(budget?: Budget): Page;
  write(stream: string, values: (unknown | Output)[]): { rejected: [number, Fault][]; receipts: Given[] };
}
/** Opens a transformer and applies one batch. */
export function transform(plugin: Class, config: unknown, stream: string, values: unknown[]): Applied;
/** All records of a source, read in one go and with a new instance behind every record: both must give the same. */
export function readAll(plugin: Class, config: unknown, budget?: Budget): Given[];
