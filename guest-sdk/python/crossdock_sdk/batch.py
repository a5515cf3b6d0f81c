"""Records of a batch, read only as far as the plugin looks, and batches that are given out."""

import json
from types import GeneratorType

from . import contract
from .fault import Fault

_DELETE = 1
#: The origin of a record that came from no record of the batch.
_NOWHERE = 0xFFFFFF
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class Record:
    """One record of a batch. Nothing of it is read before it is asked for."""

    __slots__ = ("_batch", "_start", "_value", "index")

    def __init__(self, batch, index):
        self._batch = batch
        #: Its position in the batch.
        self.index = index
        self._start = 4 * index
        self._value = None

    def _part(self, word):
        index = self._batch._index
        at = self._start + word
        start = index[at - 1] if word else (index[at - 2] if at else 0)
        return self._batch._data[start : index[at]]

    @property
    def stream(self):
        return self._batch.stream

    @property
    def form(self):
        """`json` or `bytes`."""
        return self._batch.form

    @property
    def key(self):
        return self._part(0).decode()

    @property
    def op(self):
        """`upsert` or `delete`."""
        return "delete" if self._batch._index[self._start + 3] & 0xFF == _DELETE else "upsert"

    @property
    def headers(self):
        """A dict of texts."""
        text = self._part(1)
        return json.loads(text) if text else {}

    @property
    def bytes(self):
        """The payload as it came."""
        return self._part(2)

    @property
    def text(self):
        try:
            return self._part(2).decode()
        except UnicodeDecodeError as error:
            raise Fault.permanent(f"the payload is no UTF-8 text: {error.reason} at byte {error.start}") from None

    @property
    def value(self):
        """The payload, parsed once. It may be changed in place and given out."""
        if self._value is None:
            try:
                self._value = json.loads(self._part(2))
            except ValueError as error:
                raise Fault.permanent(f"the payload is no JSON: {error}") from None
        return self._value

    def __repr__(self):
        return f"Record({self.stream!r}, {self.index}, key={self.key!r})"


class Batch:
    """Records of one stream."""

    def __init__(self, wire):
        self.stream = wire.stream
        self.form = "json" if wire.form == contract.Form.JSON else "bytes"
        self._index = wire.index
        self._data = wire.data
        self._records = {}

    def __len__(self):
        return len(self._index) // 4

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(index)
        record = self._records.get(index)
        if record is None:
            record = self._records[index] = Record(self, index)
        return record


class Output:
    """
    A record that is given out: anything that JSON can say, or bytes. What is not said is as in the record it comes from.

    `position`, in a source: what has to be known to go on behind this record.
    """

    __slots__ = ("headers", "key", "op", "position", "stream", "value")

    def __init__(self, value, *, stream=None, key=None, headers=None, op=None, position=None):
        self.value = value
        self.stream = stream
        self.key = key
        self.headers = headers
        self.op = op
        self.position = position


class Filtered:
    """Why a record goes nowhere."""

    __slots__ = ("reason",)

    def __init__(self, reason):
        self.reason = str(reason)


def filtered(reason):
    """This record goes nowhere. The summary of the run shows the reason, with a count."""
    return Filtered(reason)


class Builder:
    """A batch that is being made."""

    def __init__(self, stream, form):
        self.stream = stream
        self.form = form
        self._parts = []
        self._index = []
        #: How many bytes it has.
        self.size = 0

    def __len__(self):
        return len(self._index) // 4

    def push(self, ready):
        _, _, key, headers, payload, flags = ready
        self._parts += (key, headers, payload)
        end = self.size + len(key)
        second = end + len(headers)
        self.size = second + len(payload)
        self._index += (end, second, self.size, flags)

    def finish(self):
        form = contract.Form.JSON if self.form == "json" else contract.Form.BYTES
        return contract.Batch(self.stream, form, self._index, b"".join(self._parts))


def form_of(value):
    return "bytes" if isinstance(value, (bytes, bytearray, memoryview)) else "json"


def prepared(output, record=None):
    """An `Output` made ready for a builder: stream, form, key, headers, payload, flags."""
    value = output.value
    form = form_of(value)
    op = output.op or (record.op if record is not None else "upsert")
    if form == "bytes":
        payload = bytes(value)
    elif value is None and op == "delete":
        payload = b"{}"
    else:
        try:
            payload = _encode(value).encode()
        except (TypeError, ValueError) as error:
            raise Fault.permanent(f"what was given out cannot be said in JSON: {error}") from error
    if output.key is not None:
        key = str(output.key).encode()
    else:
        key = record._part(0) if record is not None else b""
    if output.headers is not None:
        headers = _encode(output.headers).encode() if output.headers else b""
    else:
        headers = record._part(1) if record is not None else b""
    stream = output.stream or (record.stream if record is not None else None)
    origin = record.index if record is not None else _NOWHERE
    return stream, form, key, headers, payload, origin << 8 | (_DELETE if op == "delete" else 0)


def batch_of(stream, records):
    """A batch of the contract with these values or `Output`s, for tests."""
    ready = [prepared(record if isinstance(record, Output) else Output(record)) for record in records]
    builder = Builder(stream, ready[0][1] if ready else "json")
    for one in ready:
        builder.push(one)
    return builder.finish()


class Given:
    """What goes on of one batch in a transformer."""

    def __init__(self, batch):
        self._batch = batch
        self._kept = []
        #: By stream and form, once something else than input records is given out.
        self._builders = None
        self._rejected = {}
        self._reasons = {}

    def each(self, batch, map):
        """Calls `map` for each record; what it gives decides what becomes of it. A record for which it raises is rejected."""
        for record in batch:
            try:
                self.give(record, map(record))
            except Exception as raised:
                fault = Fault.of(raised)
                # It stops the run whichever record it came with.
                if fault.kind == "config":
                    raise fault from raised
                self.reject(record, fault)

    def give(self, record, result):
        """
        Decides about one record: itself, a value, an `Output`, `filtered(..)`, nothing, or several of them in a list or
        generator. When it raises, nothing was given out.
        """
        decided = []
        _decide(record, result, decided)
        out = [one for one in decided if not isinstance(one, Filtered)]
        for one in out:
            if one is record:
                self._pass(record)
            else:
                self._builder(one).push(one)
        if decided and not out:
            reason = decided[0].reason
            self._reasons[reason] = self._reasons.get(reason, 0) + 1

    def reject(self, record, fault):
        """Refuses a record."""
        self._rejected.setdefault(record.index, Fault.of(fault))

    def _pass(self, record):
        if self._builders is None and (not self._kept or self._kept[-1] != record.index):
            self._kept.append(record.index)
            return
        index = self._batch._index
        flags = record.index << 8 | index[record._start + 3] & 0xFF
        ready = (record.stream, record.form, record._part(0), record._part(1), record._part(2), flags)
        self._builder(ready).push(ready)

    def _builder(self, ready):
        if self._builders is None:
            self._builders = {}
            for index in self._kept:
                self._pass(self._batch[index])
        name = ready[:2]
        builder = self._builders.get(name)
        if builder is None:
            builder = self._builders[name] = Builder(*name)
        return builder

    def finish(self, wire):
        """The contract's answer. `wire` has the types of the transformer's interface."""
        if self._builders is not None:
            output = wire.Output_Replace([builder.finish() for builder in self._builders.values()])
        elif len(self._kept) == len(self._batch):
            output = wire.Output_Pass()
        else:
            output = wire.Output_Select(self._kept)
        tallies = [wire.Tally(reason, count) for reason, count in list(self._reasons.items())[:64]]
        return wire.Applied(output, rejections(self._rejected), tallies)


def rejections(rejected):
    return [contract.Rejection(index, contract.fault(rejected[index])) for index in sorted(rejected)]


def _decide(record, result, decided):
    if result is None:
        return
    if result is record or isinstance(result, Filtered):
        decided.append(result)
    elif isinstance(result, Output):
        decided.append(prepared(result, record))
    elif isinstance(result, (list, tuple, GeneratorType)):
        for one in result:
            _decide(record, one, decided)
    else:
        decided.append(prepared(Output(result), record))
