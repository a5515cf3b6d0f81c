"""What the host offers. In the sandbox `imports` has the contract's functions, in tests what `testing.Host` puts there."""

import email.utils
import json
import time
from types import SimpleNamespace
from urllib.parse import quote

from . import contract
from .fault import Fault


def _outside(*_):
    raise RuntimeError("there is no host here: in tests, make one with `testing.Host()`")


imports = SimpleNamespace(
    log=lambda level, message: None,
    count=lambda name, delta: None,
    gauge=lambda name, value: None,
    get_many=_outside,
    find=_outside,
    put=_outside,
    send=_outside,
    send_all=_outside,
    now_ms=lambda: time.time_ns() // 1_000_000,
    next_u64=_outside,
)


class _Log:
    """Lines for the operator. The host adds flow, stage and plugin, and limits size and rate."""

    def trace(self, *words):
        imports.log("trace", " ".join(map(str, words)))

    def debug(self, *words):
        imports.log("debug", " ".join(map(str, words)))

    def info(self, *words):
        imports.log("info", " ".join(map(str, words)))

    def warn(self, *words):
        imports.log("warn", " ".join(map(str, words)))

    def error(self, *words):
        imports.log("error", " ".join(map(str, words)))


log = _Log()


class _Metrics:
    """Numbers for dashboards. Names are `[a-z0-9_]`."""

    def count(self, name, delta=1):
        imports.count(name, delta)

    def gauge(self, name, value):
        imports.gauge(name, float(value))


metrics = _Metrics()


class _Clock:
    def now(self):
        """Seconds since 1970."""
        return imports.now_ms() / 1000


clock = _Clock()


class _Random:
    def u64(self):
        return imports.next_u64()


random = _Random()


class Failure(Exception):
    """What a call of the host answered instead of a value: a tag of the contract and a text."""

    def __init__(self, tag, text):
        super().__init__(text)
        self.tag = tag
        self.text = text


def _pack(texts):
    parts = [text.encode() for text in texts]
    ends, end = [], 0
    for part in parts:
        end += len(part)
        ends.append(end)
    return contract.Packed(ends, b"".join(parts))


def _unpack(packed):
    start, texts = 0, []
    for end in packed.ends:
        texts.append(packed.data[start:end].decode())
        start = end
    return texts


def _of_table(call, *arguments):
    try:
        return call(*arguments)
    except Failure as failure:
        kinds = {"denied": Fault.config, "failed": Fault.transient}
        raise kinds.get(failure.tag, Fault.permanent)(failure.text) from None


class Table:
    """A keyed map that flows share. Values are anything that JSON can say. Ask for many keys at once: a call is what costs."""

    def __init__(self, name):
        self.name = name

    def get(self, key, default=None):
        return self.get_many([key]).get(key, default)

    def get_many(self, keys):
        """A dict of those keys that have a value."""
        keys = list(keys)
        if not keys:
            return {}
        found = _unpack(_of_table(imports.get_many, self.name, _pack(keys)))
        return {key: json.loads(text) for key, text in zip(keys, found) if text}

    def find(self, prefix="", *, after="", limit=1000):
        """Up to `limit` entries whose key starts with `prefix` and is greater than `after`, as a dict in their order."""
        found = _unpack(_of_table(imports.find, self.name, prefix, after, limit))
        return {key: json.loads(text) for key, text in zip(found[::2], found[1::2])}

    def put(self, key, value):
        self.put_many({key: value})

    def put_many(self, entries):
        texts = [text for key, value in entries.items() for text in (key, json.dumps(value, ensure_ascii=False))]
        if texts:
            _of_table(imports.put, self.name, _pack(texts))

    def remove(self, *keys):
        if keys:
            _of_table(imports.put, self.name, _pack(text for key in keys for text in (key, "")))


class Response:
    """An answer of another system. A status like 404 or 503 is one."""

    def __init__(self, status, headers=(), body=b"", url=""):
        self.status = status
        self.headers = list(headers)
        self.bytes = body
        self.url = url

    @property
    def ok(self):
        return 200 <= self.status < 300

    def header(self, name):
        return next((value for known, value in self.headers if known.lower() == name.lower()), None)

    @property
    def text(self):
        return self.bytes.decode(errors="replace")

    def json(self):
        try:
            return json.loads(self.bytes)
        except ValueError as error:
            message = f"the response is not the JSON that was expected: {error}; {self._start()}"
            raise Fault.permanent(message, location=self.url) from None

    def error_for_status(self):
        """Itself, or raises the fault that its status stands for."""
        if self.status < 400:
            return self
        message = f"the server answered {self.status}: {self._start()}"
        if self.status in (401, 403):
            raise Fault.config(message, location=self.url, advice="check the connection's user and its rights")
        if self.status in (408, 425, 429) or self.status >= 500:
            raise Fault.transient(message, location=self.url, retry_after=self.retry_after())
        raise Fault.permanent(message, location=self.url)

    def retry_after(self):
        """Seconds, when the server asked for it."""
        asked = (self.header("retry-after") or "").strip()
        if asked.isdigit():
            return int(asked)
        try:
            return max(0, email.utils.parsedate_to_datetime(asked).timestamp() - clock.now())
        except (TypeError, ValueError):
            return None

    def _start(self):
        text = " ".join(self.text.split())
        return (text[:200] + "…" if len(text) > 200 else text) or "(empty body)"


class Request:
    """One request. A body that is neither text nor bytes is sent as JSON."""

    def __init__(self, method, url, *, connection="", headers=None, body=None, timeout=None):
        self.method = method
        self.url = url
        self.connection = connection
        self.headers = list((headers or {}).items())
        if body is None:
            body = b""
        elif isinstance(body, str):
            body = body.encode()
        elif not isinstance(body, (bytes, bytearray)):
            body = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
            if not any(name.lower() == "content-type" for name, _ in self.headers):
                self.headers.append(("content-type", "application/json"))
        self.body = bytes(body)
        #: 0: the connection's default.
        self.timeout_ms = 0 if timeout is None else max(1, round(timeout * 1000))


def _unanswered(failure, url):
    """Why a request got no response, as a fault."""
    if failure.tag == "unauthenticated":
        return Fault.config(failure.text, location=url, advice="check the connection's user, password and client")
    kinds = {"denied": Fault.config, "unreachable": Fault.transient}
    return kinds.get(failure.tag, Fault.permanent)(failure.text, location=url)


class _Http:
    """HTTP through the host, which adds the authentication of the connection and keeps its limits."""

    def send(self, request):
        try:
            return Response(*imports.send(request), request.url)
        except Failure as failure:
            raise _unanswered(failure, request.url) from None

    def send_all(self, requests):
        """As many at a time as the connection allows. Gives a `Response` or a `Fault` for each, in order."""
        requests = list(requests)
        answers = imports.send_all(requests) if requests else []
        return [
            _unanswered(answer, request.url) if isinstance(answer, Failure) else Response(*answer, request.url)
            for request, answer in zip(requests, answers)
        ]

    def get(self, url, **options):
        return self.send(Request("GET", url, **options))

    def delete(self, url, **options):
        return self.send(Request("DELETE", url, **options))

    def post(self, url, body=None, **options):
        return self.send(Request("POST", url, body=body, **options))

    def put(self, url, body=None, **options):
        return self.send(Request("PUT", url, body=body, **options))

    def patch(self, url, body=None, **options):
        return self.send(Request("PATCH", url, body=body, **options))

    def encode(self, text):
        """A text as one part of a URL."""
        return quote(text, safe="")


http = _Http()
