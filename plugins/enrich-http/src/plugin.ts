// Adds to each record what an API says about it.

import { Fault, Transformer, clock, filtered, http, metrics, type Batch, type Given, type Record as Item } from "../../../guest-sdk/js/index.js";
import { Cache } from "./cache.ts";

interface Config {
  connection: string;
  key: string;
  path: string;
  into: string;
  pick?: string[];
  many?: { separator?: string; size?: number; items?: string; id?: string };
  missing?: "keep" | "filter" | "reject";
  cache?: { entries?: number; seconds?: number };
}

type Json = { [field: string]: unknown };

/** What the API says about a key: null when it does not know it, a fault when it could not be asked. */
type Answer = Json | null | Fault;

/** The value at a dotted path. */
function at(value: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((inside, field) => (inside as Json | null | undefined)?.[field], value);
}

const isKey = (key: unknown): key is string | number => (typeof key === "string" && key !== "") || typeof key === "number";

export class EnrichHttp extends Transformer<Config> {
  private config!: Config;
  private cache!: Cache<Json | null>;

  override open(config: Config) {
    this.config = config;
    const { entries = 10_000, seconds = 300 } = config.cache ?? {};
    this.cache = new Cache(entries, seconds * 1000, () => clock.now());
  }

  override apply(batch: Batch, given: Given) {
    const answers = this.answers(batch);
    given.each(batch, (record) => this.enriched(record, answers));
  }

  private enriched(record: Item, answers: Map<string, Answer>) {
    const { into, key: field, missing = "keep" } = this.config;
    const key = at(record.value, field);
    const answer = isKey(key) ? (answers.get(String(key)) ?? null) : null;
    if (answer instanceof Fault) throw answer;
    if (answer) return { ...record.value, [into]: answer };
    if (missing === "keep") return record;
    const reason = isKey(key) ? "the API does not know it" : `no key in \`${field}\``;
    if (missing === "filter") return filtered(reason);
    throw Fault.permanent(isKey(key) ? `the API does not know \`${key}\`` : reason, { location: `/${field.replaceAll(".", "/")}` });
  }

  /** What is known about the keys of a batch: from the cache, and of the API all at once what it does not have. */
  private answers(batch: Batch): Map<string, Answer> {
    const answers = new Map<string, Answer>();
    const wanted: string[] = [];
    for (const record of batch) {
      let key: unknown;
      try {
        key = at(record.value, this.config.key);
      } catch {
        // It is rejected when its turn comes.
        continue;
      }
      if (!isKey(key) || answers.has(String(key))) continue;
      const known = this.cache.get(String(key));
      answers.set(String(key), known ?? null);
      if (known === undefined) wanted.push(String(key));
    }
    metrics.count("lookups", answers.size);
    metrics.count("lookups_asked", wanted.length);
    const asked = this.config.path.includes("{keys}") ? this.many(wanted) : this.single(wanted);
    for (const [key, answer] of asked) {
      answers.set(key, answer);
      if (!(answer instanceof Fault)) this.cache.put(key, answer);
    }
    return answers;
  }

  private single(keys: string[]): [string, Answer][] {
    const { path, connection } = this.config;
    const requests = keys.map((key) => ({ url: path.replaceAll("{key}", encodeURIComponent(key)), connection }));
    return http.sendAll(requests).map((response, index) => {
      const answer = () => {
        if (response instanceof Fault) throw response;
        return response.status === 404 ? null : this.picked(response.errorForStatus().json());
      };
      return [keys[index]!, attempted(answer)];
    });
  }

  private many(keys: string[]): [string, Answer][] {
    const { path, connection, many = {} } = this.config;
    const { separator = ",", size = 100, items, id = "id" } = many;
    const groups: string[][] = [];
    for (let start = 0; start < keys.length; start += size) groups.push(keys.slice(start, start + size));
    const requests = groups.map((group) => ({ url: path.replaceAll("{keys}", group.map(encodeURIComponent).join(separator)), connection }));
    return http.sendAll(requests).flatMap((response, index) => {
      const group = groups[index]!;
      const found = attempted(() => {
        if (response instanceof Fault) throw response;
        const body = response.errorForStatus().json();
        const list = items ? at(body, items) : body;
        if (!Array.isArray(list)) throw Fault.permanent(`the answer has no list${items ? ` in \`${items}\`` : ""}`, { location: path });
        return Object.fromEntries(list.map((item) => [String(at(item, id)), this.picked(item)]));
      });
      return group.map((key): [string, Answer] => [key, found instanceof Fault ? found : ((found?.[key] as Json | undefined) ?? null)]);
    });
  }

  private picked(answer: unknown): Json {
    if (typeof answer !== "object" || answer === null) throw Fault.permanent(`the answer is no object: ${JSON.stringify(answer)}`);
    const { pick } = this.config;
    return pick ? Object.fromEntries(pick.filter((field) => field in answer).map((field) => [field, (answer as Json)[field]])) : (answer as Json);
  }
}

/** What a call gives, or the fault it throws. The operator's turn ends the batch. */
function attempted(call: () => Json | null): Answer {
  try {
    return call();
  } catch (thrown) {
    const fault = Fault.of(thrown);
    if (fault.kind === "config") throw fault;
    return fault;
  }
}
