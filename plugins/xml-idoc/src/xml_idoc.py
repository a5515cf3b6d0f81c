"""IDocs as XML, read one at a time however large the file is."""

import xml.etree.ElementTree as ElementTree

from crossdock_sdk import Fault


def idocs(file, name):
    """Every IDoc of a file: `(control, segments)`."""
    try:
        events = ElementTree.iterparse(file, events=("start", "end"))
        root = None
        for event, element in events:
            if root is None:
                root = element
            if event == "end" and element.tag == "IDOC":
                yield _idoc(element, name)
                # Nobody needs what was read any more.
                root.clear()
    except ElementTree.ParseError as error:
        line, column = error.position
        raise Fault.permanent(f"no well-formed XML: {error.msg}", location=f"{name}:{line}:{column + 1}") from None


def _idoc(element, name):
    control, segments = {}, {}
    for child in element:
        if child.tag == "EDI_DC40":
            control = _segment(child)
        else:
            segments.setdefault(child.tag, []).append(_segment(child))
    if not control:
        raise Fault.permanent("an IDOC without its control record EDI_DC40", location=name)
    return control, segments


def _segment(element):
    """The fields of a segment that are not empty, and the segments in it as lists."""
    found = {}
    for child in element:
        if len(child) or "SEGMENT" in child.attrib:
            found.setdefault(child.tag, []).append(_segment(child))
        elif child.text and child.text.strip():
            found[child.tag] = child.text.strip()
    return found
