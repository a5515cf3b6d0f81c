"""In the sandbox: what the host offers is the contract's imports. `crossdock plugin build` puts this before the plugin."""

from componentize_py_types import Err, Ok
from wit_world.imports import clock, http_client, log, metrics, random, tables

from . import host

_LEVELS = {name: log.Level[name.upper()] for name in ("trace", "debug", "info", "warn", "error")}
_TAGS = {
    "Denied": "denied",
    "Invalid": "invalid",
    "Failed": "failed",
    "Unauthenticated": "unauthenticated",
    "Unreachable": "unreachable",
    "TooLarge": "too-large",
}


def _failure(variant):
    return host.Failure(_TAGS[type(variant).__name__.rpartition("_")[2]], variant.value)


def _asked(function):
    def ask(*arguments):
        try:
            return function(*arguments)
        except Err as error:
            raise _failure(error.value) from None

    return ask


def _wire(request):
    return http_client.Request(
        request.connection, request.method, request.url, request.headers, request.body, request.timeout_ms
    )


def _answer(response):
    return response.status, response.headers, response.body


_send = _asked(http_client.send)


def _send_all(requests):
    answers = http_client.send_all([_wire(request) for request in requests])
    return [_answer(answer.value) if isinstance(answer, Ok) else _failure(answer.value) for answer in answers]


vars(host.imports).update(
    log=lambda level, message: log.write(_LEVELS[level], message),
    count=metrics.count,
    gauge=metrics.gauge,
    get_many=_asked(tables.get_many),
    find=_asked(tables.find),
    put=_asked(tables.put),
    send=lambda request: _answer(_send(_wire(request))),
    send_all=_send_all,
    now_ms=clock.now_ms,
    next_u64=random.next_u64,
)
