// Runs a script that the flow file holds.

import * as sdk from "../../../guest-sdk/js/index.js";
import { nameScripts, places } from "../../../guest-sdk/js/fault.js";

const { Fault, Sink, Source, Transformer } = sdk;

// What a script sees beside the language itself.
const { Output, Table, clock, decode, encode, filtered, http, idle, log, metrics, random, unreadable } = sdk;
const OFFERED = { Output, Table, Fault, clock, decode, encode, filtered, http, idle, log, metrics, random, unreadable };

// What a script may define.
const FUNCTIONS = [
  "open", "close", "snapshot", "finish", "check",
  "map", "apply", "records", "streams", "committed", "write", "writeBatch", "commit",
];

/** The functions of a script. A mistake in it is the operator's turn: the fault names its line. */
function load({ script, variables = {} }, needed) {
  const { name, text } = typeof script === "string" ? { name: "script", text: script } : script;
  nameScripts(name);
  const offered = { ...OFFERED, variables };
  const given = FUNCTIONS.map((one) => `${one}: typeof ${one} === "function" ? ${one} : undefined`).join(", ");
  // All before the script is on its first line, so that its lines are counted as its author counts them. The inner
  // function lets it define names that are offered.
  const code = `(function ({ ${Object.keys(offered).join(", ")} }) { return (function () {${text}\n;return { ${given} } }).call(undefined) })`;
  let functions;
  try {
    functions = (0, eval)(code)(offered);
  } catch (error) {
    if (error instanceof Fault) throw error;
    const place = places(error.stack)[0]?.replace(/^.* /, "") ?? name;
    throw Fault.config(`${place}: ${error.name}: ${error.message}`, { field: "/script", advice: "correct the script" });
  }
  if (!needed.some((one) => functions[one])) {
    const wanted = needed.map((one) => `\`${one}\``).join(" nor ");
    const has = FUNCTIONS.filter((one) => functions[one]).map((one) => `\`${one}\``).join(", ") || "no function that is known here";
    throw Fault.config(`${name}: the script has ${needed.length > 1 ? "neither" : "no"} ${wanted}; it has ${has}`, {
      field: "/script",
      advice: `define \`function${needed[0] === "records" ? "*" : ""} ${needed[0]}(${needed[0] === "records" ? "after" : "record"})\``,
    });
  }
  return functions;
}

export class ScriptTransformer extends Transformer {
  open(config, snapshot) {
    this.script = load(config, ["map", "apply"]);
    this.stateful = this.script.snapshot !== undefined;
    this.script.open?.(snapshot);
  }
  check(config) { load(config, ["map", "apply"]).check?.(); }
  apply(batch, given) {
    const { map, apply } = this.script;
    if (apply) apply(batch, given);
    else given.each(batch, map);
  }
  finish() { return this.script.finish?.() ?? []; }
  snapshot() { return this.script.snapshot?.(); }
  close() { this.script.close?.(); }
}

export class ScriptSource extends Source {
  open(config) {
    this.script = load(config, ["records"]);
    this.stream = config.stream ?? "records";
    this.script.open?.();
  }
  check(config) { load(config, ["records"]).check?.(); }
  streams(config) { return load(config, ["records"]).streams?.() ?? [{ name: config.stream ?? "records" }]; }
  records(after) { return this.script.records(after); }
  committed(position) { this.script.committed?.(position); }
  close() { this.script.close?.(); }
}

export class ScriptSink extends Sink {
  open(config, snapshot) {
    this.script = load(config, ["write", "writeBatch"]);
    this.script.open?.(snapshot);
  }
  check(config) { load(config, ["write", "writeBatch"]).check?.(); }
  write(batch, written) {
    const { write, writeBatch } = this.script;
    if (writeBatch) writeBatch(batch, written);
    else written.each(batch, write);
  }
  finish() { this.script.finish?.(); }
  snapshot() { return this.script.snapshot?.(); }
  commit(snapshot) { this.script.commit?.(snapshot); }
  close() { this.script.close?.(); }
}
