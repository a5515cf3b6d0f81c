"""Reads SAP IDocs, as XML and as flat files: one record per IDoc."""

import fnmatch
import io
import os
import posixpath

import flat
import xml_idoc
from crossdock_sdk import Fault, Output, Source, Stream, Unreadable

# Loaded with the component: there are no files to load them from later.
import encodings.cp1252
import encodings.iso8859_1
import encodings.utf_8_sig

#: How much of a file that cannot be read its dead letter holds.
_SHOWN = 64 << 10


def find(patterns):
    """The files of all patterns: in the order of the patterns, those of one pattern by name."""
    files = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        folder, name = posixpath.split(pattern)
        try:
            there = sorted(os.listdir(folder or "."))
        except OSError as error:
            raise Fault.config(
                f"the folder `{folder or '.'}` cannot be read: {error.strerror}",
                field="/files",
                advice=f"grant it: `grants: {{ files: {{ read: [{folder or '.'}] }} }}`",
            ) from None
        found = [posixpath.join(folder, one) for one in there if fnmatch.fnmatchcase(one, name)]
        if not found:
            raise Fault.config(f"no file matches `{pattern}`", field="/files", advice="correct the pattern")
        files += [one for one in found if one not in files]
    return files


class XmlIdoc(Source):
    def check(self, config):
        find(config["files"])

    def streams(self, config):
        return [Stream(config["stream"], key=["number"])] if "stream" in config else []

    def open(self, config, position):
        self.patterns = config["files"]
        self.one_stream = config.get("stream")
        self.encoding = config.get("encoding", "utf-8")
        self.layouts = flat.layouts(config.get("layouts", {}))
        self.with_control = config.get("control", True)
        try:
            "".encode(self.encoding)
        except LookupError:
            raise Fault.config(f"the encoding `{self.encoding}` is not known", field="/encoding", advice="`utf-8`, `iso-8859-1` or `cp1252`") from None

    def records(self, after):
        # The position: a file and how many IDocs of it were taken.
        last, taken = after or ("", 0)
        files = find(self.patterns)
        if last and last not in files:
            raise Fault.config(f"the file `{last}`, of which {taken} were read, is gone", field="/files", advice="put it back, or start the flow anew")
        if last:
            files = files[files.index(last) :]
        for name in files:
            skip = taken if name == last else 0
            yield from self.file(name, skip)

    def file(self, name, skip):
        count = 0
        try:
            for one, other in self.idocs(name):
                count += 1
                if count <= skip:
                    continue
                if isinstance(other, Fault):
                    yield Unreadable(one, other, position=(name, count))
                else:
                    yield self.record(one, other, name, count)
        except (Fault, UnicodeDecodeError) as error:
            fault = error if isinstance(error, Fault) else Fault.permanent(f"not {self.encoding}: {error.reason} at byte {error.start}", location=name)
            if count + 1 > skip:
                yield Unreadable(self.start(name), fault, position=(name, count + 1))

    def idocs(self, name):
        with open(name, "rb") as file:
            head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
            file.seek(0)
            # UTF-16 begins with a byte order mark, and only XML is written in it.
            if head[:1] == b"<" or head[:2] in (b"\xff\xfe", b"\xfe\xff"):
                yield from xml_idoc.idocs(file, name)
            else:
                encoding = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
                with io.TextIOWrapper(file, encoding=encoding, newline="\n") as lines:
                    yield from flat.idocs(lines, name, self.layouts)

    def record(self, control, segments, name, count):
        value = {
            "number": control.get("DOCNUM", ""),
            "type": control.get("IDOCTYP", ""),
            "message": control.get("MESTYP", ""),
            "sender": control.get("SNDPRN", ""),
            "receiver": control.get("RCVPRN", ""),
        }
        if self.with_control:
            value["control"] = control
        value["segments"] = segments
        stream = self.one_stream or value["message"].lower() or "idocs"
        return Output(value, stream=stream, key=value["number"], headers={"file": name}, position=(name, count))

    def start(self, name):
        with open(name, "rb") as file:
            return file.read(_SHOWN)
