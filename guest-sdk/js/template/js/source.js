// Reads the items of an API, page by page.

import { Fault, Output, Source, http } from "../sdk/js/index.js";

export class {{Type}} extends Source {
  stream = "items";

  // `config` is what the flow file says; `plugin.json` describes every field, and the host has checked it.
  open({ connection, path = "/items", page = 100 }) {
    Object.assign(this, { connection, path, page });
  }

  check(config) {
    this.open(config);
    this.fetch("");
  }

  streams() {
    return [{ name: "items", key: ["id"], incremental: true }];
  }

  // The next page: up to `page` items whose id is greater than `after`.
  fetch(after) {
    const url = `${this.path}?after=${encodeURIComponent(after)}&limit=${this.page}`;
    return http.get(url, { connection: this.connection }).errorForStatus().json();
  }

  // `after` is the position of the last record that was taken: all that a snapshot needs.
  *records(after = "") {
    for (;;) {
      const items = this.fetch(after);
      if (items.length === 0) return;
      for (const item of items) {
        if (typeof item.id !== "string") {
          throw Fault.permanent(`an item without an \`id\` that is a text: ${JSON.stringify(item)}`, { location: this.path });
        }
        yield new Output(item, { key: item.id, position: item.id });
      }
      after = items.at(-1).id;
    }
  }
}
