"""Puts every record to an API, under its key."""

from crossdock_sdk import Fault, Request, Sink, http


class {{Type}}(Sink):
    # `config` is what the flow file says; `plugin.json` describes every field, and the host has checked it.
    def open(self, config, snapshot):
        self.connection = config["connection"]
        self.path = config.get("path", "/items")

    def check(self, config):
        self.open(config, None)
        http.get(self.path, connection=self.connection).error_for_status()

    def request(self, record):
        """Putting the same item twice is as good as once, so a crash between two checkpoints does no harm."""
        if not record.key:
            raise Fault.permanent("the record has no key, so it has no place in the API")
        url = f"{self.path}/{http.encode(record.key)}"
        if record.op == "delete":
            return Request("DELETE", url, connection=self.connection)
        return Request("PUT", url, connection=self.connection, body=record.value)

    def write(self, batch, written):
        sent = []
        written.each(batch, lambda record: sent.append((record, self.request(record))))
        # As many at a time as the connection allows.
        answers = http.send_all(request for _, request in sent)
        for (record, _), answer in zip(sent, answers):
            written.attempt(record, lambda record: self.taken(record, answer))

    def taken(self, record, answer):
        if isinstance(answer, Fault):
            raise answer
        # An item to delete that is not there is as good as deleted.
        if record.op != "delete" or answer.status != 404:
            answer.error_for_status()
