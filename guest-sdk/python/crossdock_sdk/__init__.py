"""Write crossdock plugins in Python. The README beside this package is the guide."""

from .batch import Batch, Output, Record, filtered
from .fault import Fault
from .host import Request, Response, Table, clock, http, log, metrics, random
from .stage import Idle, Sink, Source, Stream, Transformer, Unreadable

__all__ = [
    "Batch", "Fault", "Idle", "Output", "Record", "Request", "Response", "Sink", "Source", "Stream", "Table", "Transformer",
    "Unreadable", "clock", "filtered", "http", "log", "metrics", "random",
]
