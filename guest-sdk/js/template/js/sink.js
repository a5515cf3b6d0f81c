// Puts every record to an API, under its key.

import { Fault, Sink, http } from "../sdk/js/index.js";

export class {{Type}} extends Sink {
  // `config` is what the flow file says; `plugin.json` describes every field, and the host has checked it.
  open({ connection, path = "/items" }) {
    Object.assign(this, { connection, path });
  }

  check({ connection, path = "/items" }) {
    http.get(path, { connection }).errorForStatus();
  }

  // Putting the same item twice is as good as once, so a crash between two checkpoints does no harm.
  request(record) {
    if (!record.key) throw Fault.permanent("the record has no key, so it has no place in the API");
    const { connection } = this;
    const url = `${this.path}/${encodeURIComponent(record.key)}`;
    return record.op === "delete" ? { method: "DELETE", url, connection } : { method: "PUT", url, connection, body: record.value };
  }

  write(batch, written) {
    const records = [];
    const requests = [];
    written.each(batch, (record) => {
      requests.push(this.request(record));
      records.push(record);
    });
    // As many at a time as the connection allows.
    http.sendAll(requests).forEach((answer, at) => {
      const record = records[at];
      written.attempt(record, () => {
        if (answer instanceof Fault) throw answer;
        // An item to delete that is not there is as good as deleted.
        if (record.op !== "delete" || answer.status !== 404) answer.errorForStatus();
      });
    });
  }
}
