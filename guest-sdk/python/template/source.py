"""Reads the items of an API, page by page."""

from crossdock_sdk import Fault, Output, Source, Stream, http


class {{Type}}(Source):
    stream = "items"

    # `config` is what the flow file says; `plugin.json` describes every field, and the host has checked it.
    def open(self, config, position):
        self.connection = config["connection"]
        self.path = config.get("path", "/items")
        self.page = config.get("page", 100)

    def check(self, config):
        self.open(config, None)
        self.fetch("")

    def streams(self, config):
        return [Stream("items", key=["id"], incremental=True)]

    def fetch(self, after):
        """The next page: up to `page` items whose id is greater than `after`."""
        url = f"{self.path}?after={http.encode(after)}&limit={self.page}"
        return http.get(url, connection=self.connection).error_for_status().json()

    def records(self, after):
        # The position of the last record that was taken: all that a snapshot needs.
        after = after or ""
        while items := self.fetch(after):
            for item in items:
                if not isinstance(item.get("id"), str):
                    raise Fault.permanent(f"an item without an `id` that is a text: {item}", location=self.path)
                yield Output(item, key=item["id"], position=item["id"])
            after = items[-1]["id"]
