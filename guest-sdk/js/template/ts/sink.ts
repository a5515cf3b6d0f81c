// Puts every record to an API, under its key.

import { Fault, Sink, http, type Batch, type Record, type Request, type Written } from "../sdk/js/index.js";

/** What the flow file says under `config`; `plugin.json` describes every field, and the host has checked it. */
interface Config {
  connection: string;
  path?: string;
}

export class {{Type}} extends Sink<Config> {
  private connection = "";
  private path = "/items";

  override open({ connection, path = "/items" }: Config) {
    Object.assign(this, { connection, path });
  }

  override check({ connection, path = "/items" }: Config) {
    http.get(path, { connection }).errorForStatus();
  }

  // Putting the same item twice is as good as once, so a crash between two checkpoints does no harm.
  private request(record: Record): Request {
    if (!record.key) throw Fault.permanent("the record has no key, so it has no place in the API");
    const { connection } = this;
    const url = `${this.path}/${encodeURIComponent(record.key)}`;
    return record.op === "delete" ? { method: "DELETE", url, connection } : { method: "PUT", url, connection, body: record.value };
  }

  override write(batch: Batch, written: Written) {
    const records: Record[] = [];
    const requests: Request[] = [];
    written.each(batch, (record) => {
      requests.push(this.request(record));
      records.push(record);
    });
    // As many at a time as the connection allows.
    http.sendAll(requests).forEach((answer, at) => {
      const record = records[at]!;
      written.attempt(record, () => {
        if (answer instanceof Fault) throw answer;
        // An item to delete that is not there is as good as deleted.
        if (record.op !== "delete" || answer.status !== 404) answer.errorForStatus();
      });
    });
  }
}
