// Writes a field of every record in capital or small letters.

import { Fault, Transformer, filtered } from "../sdk/js/index.js";

export class {{Type}} extends Transformer {
  // `config` is what the flow file says; `plugin.json` describes every field, and the host has checked it.
  open({ field, letters = "upper" }) {
    this.field = field;
    this.change = letters === "upper" ? (text) => text.toUpperCase() : (text) => text.toLowerCase();
  }

  map(record) {
    const item = record.value;
    const text = item[this.field];
    if (text === undefined || text === null) return filtered("the field is missing");
    if (typeof text !== "string") {
      // Only this record becomes a dead letter; its neighbours go on.
      throw Fault.permanent(`\`${this.field}\` is no text: ${JSON.stringify(text)}`, { location: `/${this.field}` });
    }
    item[this.field] = this.change(text);
    return item;
  }
}
