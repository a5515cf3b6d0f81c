"""Tests without a sandbox: drives a plugin as the host does, with tables, answers and a clock of your choice."""

import json
from dataclasses import dataclass, field

from . import contract, glue, host
from .batch import Batch, batch_of
from .fault import Fault
from .host import Failure


@dataclass
class Asked:
    """A request as the host got it."""

    method: str
    url: str
    connection: str
    headers: dict
    body: bytes

    @property
    def text(self):
        return self.body.decode()


class Host:
    """A host for one test. Making one replaces the last."""

    def __init__(self):
        self.requests = []
        self.logs = []
        self.counters = {}
        self.gauges = {}
        #: What the clock says, in milliseconds.
        self.now = 1_767_225_600_000
        self.tables = {}
        self._answer = None
        self._seed = 1
        vars(host.imports).update(
            log=lambda level, message: self.logs.append((level, message)),
            count=lambda name, delta: self.counters.update({name: self.counters.get(name, 0) + delta}),
            gauge=lambda name, value: self.gauges.update({name: value}),
            get_many=lambda table, keys: host._pack(self._texts(table).get(key, "") for key in host._unpack(keys)),
            find=self._find,
            put=self._put,
            send=self._send,
            send_all=self._send_all,
            now_ms=lambda: self.now,
            next_u64=self._random,
        )

    def on_http(self, answer):
        """Who answers: gets an `Asked`, gives what `answer` gives, or raises `refused(..)`."""
        self._answer = answer

    def table(self, name):
        return {key: json.loads(text) for key, text in self._texts(name).items()}

    def set_table(self, name, entries):
        self.tables[name] = {key: json.dumps(value) for key, value in entries.items()}

    def _texts(self, table):
        return self.tables.setdefault(table, {})

    def _find(self, table, prefix, after, limit):
        texts = self._texts(table)
        keys = sorted(key for key in texts if key.startswith(prefix) and key > after)[:limit]
        return host._pack(text for key in keys for text in (key, texts[key]))

    def _put(self, table, entries):
        texts = host._unpack(entries)
        for key, text in zip(texts[::2], texts[1::2]):
            if text:
                self._texts(table)[key] = text
            else:
                self._texts(table).pop(key, None)

    def _send(self, request):
        asked = Asked(request.method, request.url, request.connection, dict(request.headers), request.body)
        self.requests.append(asked)
        if self._answer is None:
            raise RuntimeError(f"nothing answers {asked.url}: tell it with `on_http`")
        return self._answer(asked)

    def _send_all(self, requests):
        answers = []
        for request in requests:
            try:
                answers.append(self._send(request))
            except Failure as failure:
                answers.append(failure)
        return answers

    def _random(self):
        self._seed = (self._seed * 6364136223846793005 + 1442695040888963407) % 2**64
        return self._seed


def answer(status, body="", headers=None):
    """An answer for `on_http`. A body that is neither text nor bytes is sent as JSON."""
    if not isinstance(body, (str, bytes)):
        body = json.dumps(body)
    body = body.encode() if isinstance(body, str) else body
    return status, [(name.lower(), value) for name, value in (headers or {}).items()], body


def refused(tag, text):
    """For `on_http`: raise it, and no answer comes. `tag`: denied, invalid, unauthenticated, unreachable, too-large."""
    return Failure(tag, text)


@dataclass
class Given:
    """A record that came out."""

    stream: str
    key: str
    op: str
    headers: dict
    value: object


@dataclass
class Applied:
    """What became of a batch."""

    #: `Output_Pass`, `Output_Select` or `Output_Replace`.
    how: str
    records: list
    #: Faults by the position of their record.
    rejected: dict
    filtered: dict

    @property
    def values(self):
        return [record.value for record in self.records]


@dataclass
class Page:
    """What one `read` gave."""

    records: list = field(default_factory=list)
    unreadable: list = field(default_factory=list)
    #: Seconds.
    idle: float | None = None
    end: bool = False


def _fault(variant):
    kind = type(variant).__name__.rpartition("_")[2].lower()
    detail = variant.value
    if kind == "config":
        return Fault.config(detail.message, field=detail.field, advice=detail.advice)
    wait = None if detail.retry_after_ms is None else detail.retry_after_ms / 1000
    return Fault(kind, detail.message, location=detail.location, retry_after=wait)


def _records(wire):
    return [
        Given(one.stream, one.key, one.op, one.headers, one.bytes if one.form == "bytes" else one.value) for one in Batch(wire)
    ]


class Driver:
    """A plugin's class, driven as the host drives it."""

    def __init__(self, plugin, config, snapshot=None):
        self._exported = glue.export(plugin)
        self._config = json.dumps(config)
        opened = self._ask("open", self._config, snapshot)
        #: Whether a transformer is one with state.
        self.stateful = opened is not None and opened.name == "STATEFUL"

    def _ask(self, function, *arguments):
        try:
            # A new object for each call, as in the sandbox.
            return getattr(self._exported(), function)(*arguments)
        except contract.Err as error:
            raise _fault(error.value) from None

    def check(self):
        self._ask("check", self._config)

    def streams(self):
        return self._ask("streams", self._config)

    def snapshot(self):
        """The contract's snapshot: bytes. A new driver can be made of it."""
        return self._ask("snapshot")

    def commit(self, snapshot):
        self._ask("commit", snapshot)

    def committed(self, snapshot):
        self._ask("committed", snapshot)

    def close(self):
        self._ask("close")

    def apply(self, stream, values):
        """Applies a batch of values or `Output`s."""
        batch = batch_of(stream, values)
        applied = self._ask("apply", batch)
        how = type(applied.output).__name__
        records = _records(batch)
        if how == "Output_Pass":
            assert not applied.rejected, "a batch was passed as a whole, and records of it rejected"
        elif how == "Output_Select":
            records = [records[index] for index in applied.output.value]
        else:
            records = [record for one in applied.output.value for record in _records(one)]
        rejected = {one.index: _fault(one.fault) for one in applied.rejected}
        return Applied(how, records, rejected, {tally.reason: tally.count for tally in applied.filtered})

    def finish(self):
        """The input has ended: what a transformer had held back."""
        return [record for one in self._ask("finish") or () for record in _records(one)]

    def read(self, *, records=1000, bytes=1 << 20, millis=1000):
        """One page of a source."""
        outcome = self._ask("read", contract.exports("source").Budget(records, bytes, millis))
        name = type(outcome).__name__
        if name == "ReadOutcome_End":
            return Page(end=True)
        if name == "ReadOutcome_Idle":
            return Page(idle=outcome.value / 1000)
        page = outcome.value
        return Page(_records(page.records), [(one.data, _fault(one.fault)) for one in page.unreadable])

    def write(self, stream, values):
        """Writes a batch of values or `Output`s. Gives the faults of the refused ones by position."""
        written = self._ask("write", batch_of(stream, values))
        return {one.index: _fault(one.fault) for one in written.rejected}


def transform(plugin, config, stream, values):
    """Opens a transformer and applies one batch."""
    return Driver(plugin, config).apply(stream, values)


def read_all(plugin, config, **budget):
    """
    All records of a source. It is read once in one go, and once with a new instance from a snapshot behind every record: both
    have to give the same.
    """
    whole, driver = [], Driver(plugin, config)
    while (page := driver.read(**budget)) and not page.end and page.idle is None:
        whole += page.records
    resumed, snapshot = [], None
    while True:
        driver = Driver(plugin, config, snapshot)
        page = driver.read(**{**budget, "records": 1})
        if page.end or page.idle is not None:
            break
        resumed += page.records
        snapshot = driver.snapshot()
    assert resumed == whole, f"resumed behind every record it gives\n{resumed}\nand in one go\n{whole}"
    return whole
