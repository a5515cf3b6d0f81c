"""Why a call, or one record, failed: a `Fault` decides what the host does next."""

import traceback
from pathlib import PurePath

#: What a text that was evaluated is called. Then it is the author's, and nothing else is.
script = None


class Fault(Exception):
    """
    Raise one of `Fault.transient`, `Fault.permanent` and `Fault.config`.

    Anything else that is raised counts as permanent, and the record's dead letter names the line.
    """

    def __init__(self, kind, message, *, location="", retry_after=None, field="", advice=""):
        super().__init__(message)
        self.kind = kind
        self.message = str(message)
        self.location = location
        #: Seconds.
        self.retry_after = retry_after
        self.field = field
        self.advice = advice

    @classmethod
    def transient(cls, message, **details):
        """It may work when tried again. `retry_after`: the other side asked to wait so many seconds."""
        return cls("transient", message, **details)

    @classmethod
    def permanent(cls, message, **details):
        """It will never work: the record becomes a dead letter."""
        return cls("permanent", message, **details)

    @classmethod
    def config(cls, message, **details):
        """A person has to change the configuration: the run stops. `field`: a JSON pointer, `advice`: what to do."""
        return cls("config", message, **details)

    @classmethod
    def of(cls, raised):
        """Anything that was raised, as a fault. What is no fault is a mistake in the plugin: it never works."""
        if isinstance(raised, Fault):
            return raised
        frames = places(raised)
        way = f" (at {', '.join(frames[:5])})" if frames else ""
        location = frames[0].rpartition(" ")[2] if frames else ""
        return cls.permanent(f"{type(raised).__name__}: {raised}{way}", location=location)


#: Files that are not the author's.
OWN = ("crossdock_sdk", "crossdock_app")


def places(raised):
    """The author's frames of an exception, the innermost first: `map plugin.py:12`."""
    found = []
    for frame in reversed(traceback.extract_tb(raised.__traceback__)):
        parts = PurePath(frame.filename).parts
        if any(part.startswith(OWN) for part in parts):
            continue
        if script is not None and frame.filename != script:
            continue
        # The sandbox has the author's folders somewhere else: what counts is the file.
        name = frame.filename if frame.filename == script else parts[-1]
        function = "" if frame.name.startswith("<") else f"{frame.name} "
        found.append(f"{function}{name}:{frame.lineno}")
    return found
