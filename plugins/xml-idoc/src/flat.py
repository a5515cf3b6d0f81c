"""Flat IDoc files: lines of fixed width, a control record and then its data records."""

from crossdock_sdk import Fault

#: The control record EDI_DC40.
CONTROL = (
    ("TABNAM", 10), ("MANDT", 3), ("DOCNUM", 16), ("DOCREL", 4), ("STATUS", 2), ("DIRECT", 1), ("OUTMOD", 1), ("EXPRSS", 1),
    ("TEST", 1), ("IDOCTYP", 30), ("CIMTYP", 30), ("MESTYP", 30), ("MESCOD", 3), ("MESFCT", 3), ("STD", 1), ("STDVRS", 6),
    ("STDMES", 6), ("SNDPOR", 10), ("SNDPRT", 2), ("SNDPFC", 2), ("SNDPRN", 10), ("SNDSAD", 21), ("SNDLAD", 70), ("RCVPOR", 10),
    ("RCVPRT", 2), ("RCVPFC", 2), ("RCVPRN", 10), ("RCVSAD", 21), ("RCVLAD", 70), ("CREDAT", 8), ("CRETIM", 6), ("REFINT", 14),
    ("REFGRP", 14), ("REFMES", 14), ("ARCKEY", 70), ("SERIAL", 20),
)
#: What comes before the data of a data record EDI_DD40.
_SEGNAM, _SEGNUM, _PSGNUM, _HLEVEL, _SDATA = slice(0, 30), slice(49, 55), slice(55, 61), slice(61, 63), 63


def fields(text, layout):
    """The fields of a line that are not empty."""
    found, start = {}, 0
    for name, width in layout:
        value = text[start : start + width].strip()
        start += width
        if value:
            found[name] = value
    return found


def layouts(config):
    """The layouts of the config: `{segment: [(field, width)]}`."""
    pairs = lambda fields: [(name, int(width)) for name, _, width in (field.partition(":") for field in fields)]
    return {segment: pairs(fields) for segment, fields in config.items()}


class Segments:
    """Puts the data records of one IDoc into each other, as their numbers say."""

    def __init__(self, known):
        self._known = known
        self._by_number = {}
        self.top = {}

    def add(self, line, place):
        name = line[_SEGNAM].strip()
        number, parent, level = (line[part].strip() for part in (_SEGNUM, _PSGNUM, _HLEVEL))
        if not name or not number.isdigit():
            raise Fault.permanent("neither a control record nor a data record: columns 1-30 and 50-55 have its segment", location=place)
        layout = self._known.get(name)
        data = line[_SDATA:].rstrip()
        segment = fields(data, layout) if layout else {"SDATA": data}
        inside = self.top
        if parent.strip("0"):
            if parent not in self._by_number:
                raise Fault.permanent(f"segment {name} is in segment {parent}, which does not come before it", location=place)
            inside = self._by_number[parent]
        elif level.isdigit() and int(level) > 2:
            raise Fault.permanent(f"segment {name} has level {level} and no parent", location=place)
        inside.setdefault(name, []).append(segment)
        self._by_number[number] = segment


def idocs(lines, name, known):
    """Every IDoc of a file: `(control, segments)`, or the text of one with the fault it has."""
    control = segments = fault = None
    text = []
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r\n")
        if not line.strip():
            continue
        place = f"{name}:{number}"
        if line.startswith("EDI_DC40"):
            if control is not None:
                yield _done(control, segments, text, fault)
            control, segments, fault, text = fields(line, CONTROL), Segments(known), None, []
        elif control is None:
            raise Fault.permanent("a flat IDoc file begins with a control record EDI_DC40", location=place)
        text.append(line)
        if line.startswith("EDI_DC40") or fault:
            continue
        try:
            segments.add(line, place)
        except Fault as found:
            # The other IDocs of the file are none the worse for it.
            fault = found
    if control is not None:
        yield _done(control, segments, text, fault)


def _done(control, segments, text, fault):
    return ("\n".join(text), fault) if fault else (control, segments.top)
