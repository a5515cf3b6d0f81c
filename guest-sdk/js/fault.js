// Why a call, or one record, failed: a `Fault` decides what the host does next.

export class Fault extends Error {
  /**
   * @param kind "transient": the host tries again. "permanent": the record becomes a dead letter. "config": the run stops.
   */
  constructor(kind, message, { location = "", retryAfterMs, field = "", advice = "" } = {}) {
    super(String(message));
    Object.assign(this, { kind, location, retryAfterMs, field, advice });
  }
  get name() { return "Fault"; }

  /** It may work when tried again. `retryAfterMs`: the other side asked to wait this long. */
  static transient(message, details) { return new Fault("transient", message, details); }
  /** It will never work: the record becomes a dead letter. */
  static permanent(message, details) { return new Fault("permanent", message, details); }
  /** A person has to change the configuration: the run stops. `field`: a JSON pointer, `advice`: what to do. */
  static config(message, details) { return new Fault("config", message, details); }

  /** Anything that was thrown, as a fault. What is no fault is a mistake in the plugin: it never works. */
  static of(thrown) {
    if (thrown instanceof Fault) return thrown;
    if (!(thrown instanceof Error)) return Fault.permanent(`the plugin threw ${String(thrown)}`);
    const frames = places(thrown.stack);
    const way = frames.length ? ` (at ${frames.slice(0, 5).join(", ")})` : "";
    const location = frames.length ? frames[0].replace(/^.* /, "") : "";
    return Fault.permanent(`${thrown.name}: ${thrown.message}${way}`, { location });
  }

  /** As the contract has it. */
  toContract() {
    const message = this.message;
    const val = this.kind === "config"
      ? { message: this.location ? `${this.location}: ${message}` : message, field: this.field, advice: this.advice }
      : { message, location: this.location, retryAfterMs: this.retryAfterMs === undefined ? undefined : Math.ceil(this.retryAfterMs) };
    return { tag: this.kind, val };
  }
}

// From a place in what was built to one in what was written: set by what bundles the plugin.
let origin = (file, line, column) => ({ file, line, column });
let hidden = /(^|\/)(sdk|guest-sdk)\/js\/|^entry\.js$|^native|^node:/;

// What a text that was evaluated is called. Then it is the author's, and nothing else is.
let script;
export function nameScripts(name) { script = name; }

/** Says where places of the running program come from, and which are not the author's. */
export function setOrigin(find, own = hidden) {
  origin = find;
  hidden = own;
}

/** The author's frames of a stack: `map src/plugin.ts:3`. */
export function places(stack) {
  const found = [];
  for (const text of String(stack ?? "").split("\n")) {
    const place = frame(text.trim());
    if (place) found.push(place);
  }
  return found;
}

// As QuickJS and as Node.js write an evaluated text, and as both write a file.
const EVALUATED = /^at (?:(\S+) )?.*?<(?:input|evalScript|anonymous)>:(\d+)(?::\d+)?\)?$/;
const FILE = /^at (?:(.*?) \()?([^()]*?):(\d+)(?::(\d+))?\)?$/;

function frame(text) {
  const named = (name, file, line) => `${name && !/^[<(]/.test(name) ? `${name.replace(/^Object\./, "")} ` : ""}${file}:${line}`;
  const evaluated = EVALUATED.exec(text);
  if (evaluated) return named(evaluated[1], script ?? "eval", evaluated[2]);
  if (script !== undefined) return undefined;
  const written = FILE.exec(text);
  if (!written) return undefined;
  const [, name, file, line, column = 1] = written;
  const place = origin(file.replace(/^file:\/\//, ""), Number(line), Number(column));
  return place && !hidden.test(place.file) ? named(name, place.file, place.line) : undefined;
}
