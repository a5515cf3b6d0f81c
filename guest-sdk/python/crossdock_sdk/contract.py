"""
The contract's types. In the sandbox they are those that componentize-py makes of the WIT; in tests, where there are none, they
are made here.
"""

try:
    from componentize_py_types import Err
    from wit_world.imports import plugin_types as types

    IN_SANDBOX = True
except ImportError:
    IN_SANDBOX = False

if IN_SANDBOX:
    Batch, Form, Packed, Rejection = types.Batch, types.Form, types.Packed, types.Rejection
    Detail, ConfigDetail = types.Detail, types.ConfigDetail
    Fault_Transient, Fault_Permanent, Fault_Config = types.Fault_Transient, types.Fault_Permanent, types.Fault_Config

    def exports(kind):
        """The types of one kind's interface."""
        import importlib

        return importlib.import_module(f"wit_world.exports.{kind}")

else:
    from dataclasses import make_dataclass
    from enum import Enum
    from types import SimpleNamespace

    class Err(Exception):
        def __init__(self, value):
            self.value = value

    class Form(Enum):
        JSON = 0
        BYTES = 1

    class Mode(Enum):
        STATELESS = 0
        STATEFUL = 1

    def _make(names):
        return {name: make_dataclass(name, fields) for name, fields in names.items()}

    _variant = ["value"]
    _shared = _make({
        "Batch": ["stream", "form", "index", "data"],
        "Packed": ["ends", "data"],
        "Rejection": ["index", "fault"],
        "Detail": ["message", "location", "retry_after_ms"],
        "ConfigDetail": ["message", "field", "advice"],
        "Fault_Transient": _variant,
        "Fault_Permanent": _variant,
        "Fault_Config": _variant,
    })
    globals().update(_shared)
    _kinds = {
        "source": _make({
            "StreamInfo": ["name", "schema", "key", "incremental"],
            "Budget": ["records", "bytes", "millis"],
            "Unreadable": ["data", "fault"],
            "Page": ["records", "unreadable"],
            "ReadOutcome_Page": _variant,
            "ReadOutcome_Idle": _variant,
            "ReadOutcome_End": [],
        }),
        "transformer": _make({
            "Output_Pass": [],
            "Output_Select": _variant,
            "Output_Replace": _variant,
            "Tally": ["reason", "count"],
            "Applied": ["output", "rejected", "filtered"],
        }) | {"Mode": Mode},
        "sink": _make({"Written": ["rejected", "receipts"]}),
    }

    def exports(kind):
        """The types of one kind's interface."""
        return SimpleNamespace(**_kinds[kind])


def fault(raised):
    """A `Fault` as the contract has it."""
    if raised.kind == "config":
        message = f"{raised.location}: {raised.message}" if raised.location else raised.message
        return Fault_Config(ConfigDetail(message, raised.field, raised.advice))
    wait = None if raised.retry_after is None else max(0, round(raised.retry_after * 1000))
    detail = Detail(raised.message, raised.location, wait)
    return Fault_Transient(detail) if raised.kind == "transient" else Fault_Permanent(detail)
