// Writes a field of every record in capital or small letters.

import { Fault, Transformer, filtered, type Record as Item } from "../sdk/js/index.js";

/** What the flow file says under `config`; `plugin.json` describes every field, and the host has checked it. */
interface Config {
  field: string;
  letters?: "upper" | "lower";
}

export class {{Type}} extends Transformer<Config> {
  private field = "";
  private change = (text: string) => text.toUpperCase();

  override open({ field, letters = "upper" }: Config) {
    this.field = field;
    if (letters === "lower") this.change = (text) => text.toLowerCase();
  }

  override map(record: Item) {
    const item = record.value as { [field: string]: unknown };
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
