"""Runs a script that the flow file holds."""

import importlib
import linecache

from crossdock_sdk import Fault, Idle, Output, Request, Sink, Source, Stream, Table, Transformer, Unreadable
from crossdock_sdk import clock, fault, filtered, http, log, metrics, random

# Scripts may import these. A module that is not loaded when the component is built cannot be loaded later: there are no files.
MODULES = (
    "array", "base64", "bisect", "calendar", "codecs", "collections", "colorsys", "configparser", "contextlib", "copy", "csv",
    "dataclasses", "datetime", "decimal", "difflib", "email", "email.message", "email.parser", "email.policy", "enum", "fnmatch",
    "fractions", "functools", "gzip", "hashlib", "heapq", "hmac", "html", "html.entities", "html.parser", "io", "ipaddress",
    "itertools", "json", "math", "numbers", "operator", "pprint", "quopri", "random", "re", "secrets", "statistics", "string",
    "struct", "textwrap", "time", "tomllib", "types", "typing", "unicodedata", "urllib.parse", "uuid", "xml.dom.minidom",
    "xml.etree.ElementTree", "xml.sax", "xml.sax.saxutils", "zipfile", "zlib", "zoneinfo",
)


def _load_all():
    found = set()
    for name in MODULES:
        try:
            importlib.import_module(name)
            found.add(name)
        except ImportError:
            # Not every build of Python has all of them.
            pass
    return found


AVAILABLE = _load_all()

OFFERED = {
    "Fault": Fault, "Idle": Idle, "Output": Output, "Request": Request, "Stream": Stream, "Table": Table, "Unreadable": Unreadable,
    "clock": clock, "filtered": filtered, "http": http, "log": log, "metrics": metrics, "random": random,
}


def _place(error, name):
    """The line of a script at which an exception was raised."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{name}:{error.lineno}"
    frames = fault.places(error)
    return frames[0].rpartition(" ")[2] if frames else name


class Script:
    """What a script defines. A mistake in it is the operator's turn: the fault names its line."""

    def __init__(self, config, *needed):
        script = config["script"]
        name, text = ("script", script) if isinstance(script, str) else (script["name"], script["text"])
        fault.script = name
        # Tracebacks show its lines.
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        self._names = {"__name__": "script", **OFFERED, "variables": config.get("variables", {})}
        try:
            exec(compile(text, name, "exec"), self._names)
        except Fault:
            raise
        except Exception as error:
            message = error.msg if isinstance(error, SyntaxError) else str(error)
            if isinstance(error, ImportError):
                message += "; scripts can import " + ", ".join(sorted(AVAILABLE))
            raise Fault.config(
                f"{_place(error, name)}: {type(error).__name__}: {message}", field="/script", advice="correct the script"
            ) from None
        if not any(self.get(function) for function in needed):
            known = sorted(one for one, value in self._names.items() if callable(value) and one not in OFFERED and one[0] != "_")
            wanted = " nor ".join(f"`{one}`" for one in needed)
            raise Fault.config(
                f"{name}: the script has {'neither' if len(needed) > 1 else 'no'} {wanted}; it has "
                + (", ".join(f"`{one}`" for one in known) or "no function"),
                field="/script",
                advice=f"define `def {needed[0]}({'after' if needed[0] == 'records' else 'record'}):`",
            )

    def get(self, name):
        value = self._names.get(name)
        return value if callable(value) and value is not OFFERED.get(name) else None

    def call(self, name, *arguments, default=None):
        """Calls a function that a script need not have."""
        function = self.get(name)
        return default if function is None else function(*arguments)


class ScriptTransformer(Transformer):
    def check(self, config):
        Script(config, "map", "apply").call("check")

    def open(self, config, snapshot):
        self.script = Script(config, "map", "apply")
        self.stateful = self.script.get("snapshot") is not None
        self._map, self._apply = (self.script.get(name) for name in ("map", "apply"))
        # `map` is also a function of Python itself: what the script defines is meant.
        self.script.call("open", snapshot)

    def apply(self, batch, given):
        if self._apply:
            self._apply(batch, given)
        else:
            given.each(batch, self._map)

    def finish(self):
        return self.script.call("finish", default=[])

    def snapshot(self):
        return self.script.call("snapshot")

    def close(self):
        self.script.call("close")


class ScriptSource(Source):
    def check(self, config):
        Script(config, "records").call("check")

    def streams(self, config):
        script = Script(config, "records")
        return script.call("streams", default=[Stream(config.get("stream", "records"))])

    def open(self, config, position):
        self.script = Script(config, "records")
        self.stream = config.get("stream", "records")
        self.script.call("open")

    def records(self, after):
        return self.script.get("records")(after)

    def committed(self, position):
        self.script.call("committed", position)

    def close(self):
        self.script.call("close")


class ScriptSink(Sink):
    def check(self, config):
        Script(config, "write", "write_batch").call("check")

    def open(self, config, snapshot):
        self.script = Script(config, "write", "write_batch")
        self.script.call("open", snapshot)

    def write(self, batch, written):
        write_batch = self.script.get("write_batch")
        if write_batch:
            write_batch(batch, written)
        else:
            written.each(batch, self.script.get("write"))

    def finish(self):
        self.script.call("finish")

    def snapshot(self):
        return self.script.call("snapshot")

    def commit(self, snapshot):
        self.script.call("commit", snapshot)

    def close(self):
        self.script.call("close")
