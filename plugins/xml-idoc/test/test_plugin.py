import os
import tempfile
import unittest
from pathlib import Path

import flat
from crossdock_sdk import Fault
from crossdock_sdk.testing import Driver, read_all
from plugin import XmlIdoc

DATA = Path(__file__).parent / "data"


def control(number, message="ORDERS"):
    values = {"TABNAM": "EDI_DC40", "MANDT": "800", "DOCNUM": number, "IDOCTYP": "ORDERS05", "MESTYP": message, "SNDPRN": "SHOP"}
    return "".join(values.get(name, "").ljust(width) for name, width in flat.CONTROL)


def data(segment, number, parent, level, text, document="1"):
    return segment.ljust(30) + "800" + document.rjust(16, "0") + number.rjust(6, "0") + parent.rjust(6, "0") + level.rjust(2, "0") + text


FLAT = "\n".join([
    control("0000000000000001"),
    data("E2EDK01005", "1", "0", "2", "   X" + "EUR"),
    data("E2EDP01007", "2", "0", "2", "000010" + "   2.000"),
    data("E2EDP19001", "3", "2", "3", "001" + "A-1"),
    control("0000000000000002"),
    data("E2EDK01005", "1", "0", "2", "   XCHF"),
    "",
])
LAYOUTS = {"E2EDK01005": ["ACTION:3", "KZABS:1", "CURCY:3"], "E2EDP01007": ["POSEX:6", "MENGE:8"]}


class InAFolder(unittest.TestCase):
    def setUp(self):
        self.before = os.getcwd()
        self.folder = tempfile.TemporaryDirectory()
        os.chdir(self.folder.name)
        os.mkdir("in")

    def tearDown(self):
        os.chdir(self.before)
        self.folder.cleanup()

    def write(self, name, content):
        Path("in", name).write_bytes(content if isinstance(content, bytes) else content.encode())


class XmlTest(InAFolder):
    def test_an_idoc_is_a_record_with_its_segments_as_they_are_nested(self):
        self.write("orders.xml", (DATA / "orders.xml").read_bytes())
        records = read_all(XmlIdoc, {"files": "in/*.xml", "control": False})
        self.assertEqual([(one.stream, one.key) for one in records], [("orders", "0000000000047110"), ("orders", "0000000000047111")])
        first = records[0].value
        self.assertEqual((first["type"], first["sender"], first["receiver"]), ("ORDERS05", "SHOP", "ERP"))
        self.assertEqual(first["segments"]["E1EDK01"], [{"CURCY": "EUR", "BELNR": "4500017"}])
        item = first["segments"]["E1EDP01"][0]
        self.assertEqual(item["MENGE"], "2.000")
        self.assertEqual([one["IDTNR"] for one in item["E1EDP19"]], ["A-1", "4006381333931"])
        self.assertEqual(item["E1EDP19"][0]["KTEXT"], "Tür, weiß")

    def test_a_file_that_breaks_off_gives_what_is_whole_and_names_the_place(self):
        whole = (DATA / "orders.xml").read_bytes()
        self.write("a.xml", whole[: whole.index(b"</ORDERS05>") - 200])
        self.write("b.xml", whole)
        driver = Driver(XmlIdoc, {"files": ["in/*.xml"], "stream": "idocs"})
        page = driver.read()
        self.assertEqual(len(page.records), 3)
        self.assertEqual(len(page.unreadable), 1)
        self.assertRegex(page.unreadable[0][1].message, "no well-formed XML")
        self.assertRegex(page.unreadable[0][1].location, r"in/a.xml:\d+")
        self.assertTrue(driver.read().end)

    def test_entities_of_other_files_are_not_read(self):
        self.write("a.xml", '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x><IDOC><EDI_DC40><DOCNUM>&e;</DOCNUM></EDI_DC40></IDOC></x>')
        page = Driver(XmlIdoc, {"files": "in/a.xml"}).read()
        self.assertEqual((page.records, len(page.unreadable)), ([], 1))

    def test_a_pattern_that_matches_nothing_is_the_operators_turn(self):
        with self.assertRaises(Fault) as raised:
            Driver(XmlIdoc, {"files": "in/*.xml"}).check()
        self.assertEqual((raised.exception.kind, raised.exception.field), ("config", "/files"))


class FlatTest(InAFolder):
    def test_lines_become_the_same_shape(self):
        self.write("orders.txt", FLAT)
        records = read_all(XmlIdoc, {"files": "in/*.txt", "layouts": LAYOUTS})
        self.assertEqual([one.key for one in records], ["0000000000000001", "0000000000000002"])
        value = records[0].value
        self.assertEqual(value["control"]["MESTYP"], "ORDERS")
        self.assertEqual(value["segments"], {
            "E2EDK01005": [{"KZABS": "X", "CURCY": "EUR"}],
            "E2EDP01007": [{"POSEX": "000010", "MENGE": "2.000", "E2EDP19001": [{"SDATA": "001A-1"}]}],
        })

    def test_an_idoc_whose_segments_do_not_fit_is_told_and_spares_the_others(self):
        self.write("a.txt", FLAT.replace("000003000002", "000003000009"))
        page = Driver(XmlIdoc, {"files": "in/a.txt", "encoding": "iso-8859-1"}).read()
        self.assertEqual([one.key for one in page.records], ["0000000000000002"])
        _, fault = page.unreadable[0]
        self.assertEqual(fault.location, "in/a.txt:4")
        self.assertIn("in segment 000009", fault.message)

    def test_what_is_no_idoc_is_told(self):
        self.write("a.txt", "hello\n")
        page = Driver(XmlIdoc, {"files": "in/a.txt"}).read()
        self.assertIn("begins with a control record", page.unreadable[0][1].message)


if __name__ == "__main__":
    unittest.main()
