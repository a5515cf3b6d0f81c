// Reads the items of an API, page by page.

import { Fault, Output, Source, http } from "../sdk/js/index.js";

/** What the flow file says under `config`; `plugin.json` describes every field, and the host has checked it. */
interface Config {
  connection: string;
  path?: string;
  page?: number;
}

interface Item {
  id: string;
}

export class {{Type}} extends Source<Config, string> {
  override stream = "items";
  private connection = "";
  private path = "/items";
  private page = 100;

  override open({ connection, path = "/items", page = 100 }: Config) {
    Object.assign(this, { connection, path, page });
  }

  override check(config: Config) {
    this.open(config);
    this.fetch("");
  }

  override streams() {
    return [{ name: "items", key: ["id"], incremental: true }];
  }

  // The next page: up to `page` items whose id is greater than `after`.
  private fetch(after: string): Item[] {
    const url = `${this.path}?after=${encodeURIComponent(after)}&limit=${this.page}`;
    return http.get(url, { connection: this.connection }).errorForStatus().json() as Item[];
  }

  // `after` is the position of the last record that was taken: all that a snapshot needs.
  override *records(after = "") {
    for (;;) {
      const items = this.fetch(after);
      if (items.length === 0) return;
      for (const item of items) {
        if (typeof item.id !== "string") {
          throw Fault.permanent(`an item without an \`id\` that is a text: ${JSON.stringify(item)}`, { location: this.path });
        }
        yield new Output(item, { key: item.id, position: item.id });
      }
      after = items.at(-1)!.id;
    }
  }
}
