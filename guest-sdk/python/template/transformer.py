"""Writes a field of every record in capital or small letters."""

from crossdock_sdk import Fault, Transformer, filtered


class {{Type}}(Transformer):
    # `config` is what the flow file says; `plugin.json` describes every field, and the host has checked it.
    def open(self, config, snapshot):
        self.field = config["field"]
        self.change = str.lower if config.get("letters") == "lower" else str.upper

    def map(self, record):
        item = record.value
        text = item.get(self.field)
        if text is None:
            return filtered("the field is missing")
        if not isinstance(text, str):
            # Only this record becomes a dead letter; its neighbours go on.
            raise Fault.permanent(f"`{self.field}` is no text: {text!r}", location=f"/{self.field}")
        item[self.field] = self.change(text)
        return item
