"""Between the contract and the classes: what the component exports."""

import functools
import json
import time

from . import contract
from .batch import Batch, Builder, Given, Output, prepared, rejections
from .fault import Fault
from .host import log
from .stage import Idle, Sink, Source, Transformer, Unreadable

_BASES = {"source": Source, "transformer": Transformer, "sink": Sink}
_END = object()


def find(module, kind):
    """The author's class of a kind."""
    base = _BASES[kind]
    for one in vars(module).values():
        if isinstance(one, type) and issubclass(one, base) and one is not base:
            return one
    raise TypeError(f"the plugin has no class that extends {base.__name__}")


def _guarded(method):
    """Whatever is raised becomes the contract's fault: without that it would end the instance."""

    @functools.wraps(method)
    def guarded(self, *arguments):
        try:
            return method(self, *arguments)
        except contract.Err:
            raise
        except Exception as raised:
            raise contract.Err(contract.fault(Fault.of(raised))) from None

    return guarded


def _to_bytes(value):
    return b"" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _from_bytes(known):
    if not known:
        return None
    try:
        return json.loads(known)
    except ValueError:
        raise Fault.config("the snapshot is not one of this plugin") from None


def _config(text):
    return json.loads(text) if text.strip() else {}


class _Life:
    """
    What all kinds share. Every call of the host comes to a new object of the exported class, so the author's object is kept by
    the class.
    """

    make = None
    stage = None

    def get(self):
        if type(self).stage is None:
            raise Fault.permanent("the host called before `open`")
        return type(self).stage

    @_guarded
    def check(self, config):
        type(self).make().check(_config(config))

    def _open(self, config, known):
        cls = type(self)
        cls.stage = None
        stage = cls.make()
        stage.open(_config(config), known)
        cls.stage = stage
        return stage

    @_guarded
    def snapshot(self):
        return _to_bytes(self.get().snapshot())

    def close(self):
        stage, type(self).stage = type(self).stage, None
        # Nobody listens any more: what it raises is for the log.
        try:
            if stage is not None:
                stage.close()
        except Exception as raised:
            log.warn("closing failed:", Fault.of(raised).message)


class _Transformer(_Life):
    @_guarded
    def open(self, config, snapshot):
        stage = self._open(config, _from_bytes(snapshot))
        mode = contract.exports("transformer").Mode
        return mode.STATEFUL if stage.stateful else mode.STATELESS

    @_guarded
    def apply(self, batch):
        batch = Batch(batch)
        given = Given(batch)
        self.get().apply(batch, given)
        return given.finish(contract.exports("transformer"))

    @_guarded
    def finish(self):
        builders = {}
        for output in self.get().finish() or ():
            ready = prepared(output)
            if not ready[0]:
                raise Fault.permanent("what `finish` gives needs a `stream`")
            builders.setdefault(ready[:2], Builder(*ready[:2])).push(ready)
        return [builder.finish() for builder in builders.values()]


class _Reader:
    """
    What an author's generator gives, one after the other, and how far it was taken: the last position, and the number of items
    that came behind it without one. These are skipped when a new generator starts at that position.
    """

    def __init__(self, stage, known):
        known = known or {}
        self.stage = stage
        self.at = known.get("at")
        self.skip = known.get("skip", 0)
        self._items = None
        self._waiting = None
        self._failed = None

    def position(self):
        if self.at is None and not self.skip:
            return None
        return {"at": self.at, "skip": self.skip} if self.skip else {"at": self.at}

    def peek(self):
        """The next item. It comes again until it is taken."""
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed
        if self._waiting is None:
            try:
                if self._items is None:
                    self._items = self._start()
                self._waiting = next(self._items, _END)
            except Exception:
                # The generator has ended with this: another one starts behind what was taken.
                self._items = None
                raise
        return self._waiting

    def take(self):
        position = getattr(self._waiting, "position", None)
        if position is not None:
            self.at, self.skip = position, 0
        elif not isinstance(self._waiting, Idle):
            self.skip += 1
        self._waiting = None

    def later(self, failed):
        """What is raised at the next call, since this one has something to give."""
        self._failed = failed

    def _start(self):
        items = iter(self.stage.records(self.at))
        left = self.skip
        while left:
            item = next(items, _END)
            if item is _END:
                break
            left -= not isinstance(item, Idle)
        return items


class _Page:
    """What one `read` gives."""

    def __init__(self):
        self.builder = None
        self.unreadable = []

    def __len__(self):
        return len(self.unreadable) + (len(self.builder) if self.builder else 0)

    def add(self, item, stage, budget, wire):
        """Takes an item, or says that it is for the next page."""
        if isinstance(item, Unreadable):
            data = item.data.encode() if isinstance(item.data, str) else bytes(item.data)
            self.unreadable.append(wire.Unreadable(data, contract.fault(Fault.of(item.fault))))
            return True
        stream, form, *rest = prepared(item if isinstance(item, Output) else Output(item))
        stream = stream or stage.stream
        if not stream:
            raise Fault.permanent("a record was given out without a `stream`")
        builder = self.builder
        if builder is not None and (builder.stream != stream or builder.form != form):
            return False
        if builder is not None and builder.size + len(rest[2]) > budget.bytes:
            return False
        if builder is None:
            builder = self.builder = Builder(stream, form)
        builder.push((stream, form, *rest))
        return True


def _read(reader, budget):
    wire = contract.exports("source")
    until = time.monotonic() + budget.millis / 1000
    page = _Page()
    while len(page) < budget.records:
        try:
            item = reader.peek()
            if not page and item is _END:
                return wire.ReadOutcome_End()
            if not page and isinstance(item, Idle):
                reader.take()
                return wire.ReadOutcome_Idle(max(0, round(item.seconds * 1000)))
            if item is _END or isinstance(item, Idle) or not page.add(item, reader.stage, budget, wire):
                break
            reader.take()
        except Exception as raised:
            if not page:
                raise
            reader.later(raised)
            break
        if time.monotonic() >= until:
            break
    records = page.builder or Builder(reader.stage.stream or "records", "json")
    return wire.ReadOutcome_Page(wire.Page(records.finish(), page.unreadable))


class _Source(_Life):
    reader = None

    @_guarded
    def streams(self, config):
        wire = contract.exports("source")
        streams = type(self).make().streams(_config(config))
        return [
            wire.StreamInfo(one.name, json.dumps(one.schema) if one.schema is not None else "", list(one.key), one.incremental)
            for one in streams
        ]

    @_guarded
    def open(self, config, snapshot):
        known = _from_bytes(snapshot)
        stage = self._open(config, (known or {}).get("at"))
        type(self).reader = _Reader(stage, known)

    @_guarded
    def read(self, budget):
        self.get()
        return _read(type(self).reader, budget)

    @_guarded
    def snapshot(self):
        self.get()
        return _to_bytes(type(self).reader.position())

    @_guarded
    def committed(self, snapshot):
        self.get().committed((_from_bytes(snapshot) or {}).get("at"))


class _Written:
    """What becomes of a batch in a sink."""

    def __init__(self):
        self.rejected = {}
        self.builder = None

    def each(self, batch, write):
        """Calls `write` for each record; what it raises rejects the record."""
        for record in batch:
            self.attempt(record, write)

    def attempt(self, record, write):
        """The same for one record."""
        try:
            write(record)
        except Exception as raised:
            fault = Fault.of(raised)
            # It is the operator's turn: no other record would fare better.
            if fault.kind == "config":
                raise fault from raised
            self.reject(record, fault)

    def reject(self, record, fault):
        self.rejected.setdefault(record.index, Fault.of(fault))

    def receipt(self, output, record):
        """What the target answered, for later stages and tables: `Output`s of one stream."""
        ready = prepared(output, record)
        if self.builder is None:
            self.builder = Builder(*ready[:2])
        self.builder.push(ready)


class _Sink(_Life):
    @_guarded
    def open(self, config, snapshot):
        self._open(config, _from_bytes(snapshot))

    @_guarded
    def write(self, batch):
        written = _Written()
        self.get().write(Batch(batch), written)
        receipts = written.builder.finish() if written.builder else None
        return contract.exports("sink").Written(rejections(written.rejected), receipts)

    @_guarded
    def finish(self):
        self.get().finish()

    @_guarded
    def commit(self, snapshot):
        self.get().commit(_from_bytes(snapshot))


_KINDS = {"source": _Source, "transformer": _Transformer, "sink": _Sink}


def export(make):
    """What the component exports for the author's class."""
    kind = next(kind for kind, base in _BASES.items() if issubclass(make, base))
    return type(kind.capitalize(), (_KINDS[kind],), {"make": make})
