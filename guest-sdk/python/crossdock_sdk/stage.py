"""The classes that plugins extend."""

from dataclasses import dataclass, field

from .fault import Fault


class _Stage:
    def check(self, config):
        """Is the config usable, is what it names reachable? No side effects."""

    def open(self, config, snapshot):
        """Starts. `config` is a dict, `snapshot` what `snapshot` gave in an earlier life, or None."""

    def snapshot(self):
        """What a new instance needs to continue: anything that JSON can say."""
        return None

    def close(self):
        """The last call."""


class Transformer(_Stage):
    """Changes, filters, splits or routes records."""

    #: True: batches come in order to one instance, and `snapshot` holds what it knows.
    stateful = False

    def check(self, config):
        """By default: it can be opened."""
        self.open(config, None)

    def map(self, record):
        """
        What becomes of a record: itself, a value, an `Output`, `filtered(reason)`, nothing, or several of them (a list, or
        `yield` them). What is raised rejects this record only.
        """
        return record

    def apply(self, batch, given):
        """Works on a batch. Override it to look things up for the whole batch first, then call `given.each`."""
        given.each(batch, self.map)

    def finish(self):
        """The input has ended: `Output`s that were held back, each with its `stream`."""
        return []


@dataclass
class Stream:
    """What a source can read."""

    name: str
    #: JSON Schema of the payload, as a dict.
    schema: dict | None = None
    #: Fields that identify a record.
    key: list[str] = field(default_factory=list)
    #: Whether a later run reads only what has changed since.
    incremental: bool = False


@dataclass
class Idle:
    """Nothing now: ask again after so many seconds."""

    seconds: float


@dataclass
class Unreadable:
    """Input that is no record. It counts as read and becomes a dead letter."""

    data: bytes | str
    fault: Exception
    position: object = None


class Source(_Stage):
    """Reads records. Its snapshot is the position of the last record that was taken."""

    #: The stream of records that name none.
    stream = None

    def streams(self, config):
        """What can be read: a list of `Stream`."""
        return []

    def open(self, config, position):
        """Starts. `records` is told the position too."""

    def records(self, after):
        """
        Gives `Output`s, each with the `position` that has to be known to go on behind it. `after` is the position of the last
        record that was taken, None at the start. Records without a position are counted from the last one that has it.
        `Idle(seconds)`: nothing now. `Unreadable(data, fault)`: input that is no record.
        """
        raise Fault.permanent("this source has no `records`")

    def committed(self, position):
        """All up to this position is durable at every sink. May come twice."""


class Sink(_Stage):
    """Writes records."""

    def write_record(self, record):
        """Writes one record. What is raised rejects this record only."""
        raise Fault.permanent("this sink has neither `write_record` nor `write`")

    def write(self, batch, written):
        """Writes a batch. `written.reject(record, fault)` refuses a record; all others count as written."""
        written.each(batch, self.write_record)

    def finish(self):
        """The input has ended."""

    def commit(self, snapshot):
        """Makes everything up to this snapshot visible. May come twice."""
