import unittest

from crossdock_sdk import Fault
from crossdock_sdk.testing import Driver, Host, answer, read_all, transform
from plugin import ScriptSink, ScriptSource, ScriptTransformer


class TransformerTest(unittest.TestCase):
    def test_a_script_maps_filters_splits_and_routes(self):
        script = """
from decimal import Decimal
rate = variables["rate"]

def map(record):
    item = record.value
    if "price" not in item:
        yield filtered("no price")
        return
    yield {**item, "gross": item["price"] * rate}
    for tag in item.get("tags", []):
        yield Output({"tag": tag}, stream="tags", key=tag)
"""
        config = {"script": script, "variables": {"rate": 2}}
        done = transform(ScriptTransformer, config, "items", [{"price": 3, "tags": ["a"]}, {}])
        self.assertEqual(done.values, [{"price": 3, "tags": ["a"], "gross": 6}, {"tag": "a"}])
        self.assertEqual(done.filtered, {"no price": 1})

    def test_an_error_in_a_record_names_the_scripts_line_and_spares_the_other_records(self):
        text = "def map(record):\n    item = record.value\n    return item['a']['b']\n"
        script = {"name": "scripts/tidy.py", "text": text}
        done = transform(ScriptTransformer, {"script": script}, "items", [{"a": {"b": {"c": 1}}}, {"a": 1}])
        self.assertEqual(len(done.records), 1)
        self.assertEqual(done.rejected[1].location, "scripts/tidy.py:3")
        self.assertRegex(done.rejected[1].message, r"TypeError: .*\(at map scripts/tidy.py:3\)")

    def test_a_script_that_is_none_is_the_operators_turn(self):
        for script, words in {
            "def other(): pass": "neither `map` nor `apply`; it has `other`",
            "a = 1\nnowhere()": "script:2: NameError",
            "def map(record)\n  pass": "script:1: SyntaxError",
            "import nowhere": "scripts can import array, base64",
        }.items():
            with self.assertRaises(Fault) as raised:
                Driver(ScriptTransformer, {"script": script})
            self.assertEqual((raised.exception.kind, raised.exception.field), ("config", "/script"))
            self.assertIn(words, raised.exception.message)

    def test_a_script_with_a_snapshot_is_stateful(self):
        script = """
total = 0

def open(snapshot):
    global total
    total = snapshot or 0

def map(record):
    global total
    total += record.value
    return total

def snapshot():
    return total
"""
        first = Driver(ScriptTransformer, {"script": script})
        self.assertTrue(first.stateful)
        self.assertEqual(first.apply("n", [1, 2]).values, [1, 3])
        second = Driver(ScriptTransformer, {"script": script}, first.snapshot())
        self.assertEqual(second.apply("n", [4]).values, [7])


class SourceAndSinkTest(unittest.TestCase):
    def test_a_source_goes_on_behind_every_record(self):
        script = "def records(after):\n    yield from ({'n': n} for n in range(3))"
        records = read_all(ScriptSource, {"script": script, "stream": "n"})
        self.assertEqual([record.value["n"] for record in records], [0, 1, 2])

    def test_a_sink_rejects_what_it_cannot_write(self):
        host = Host()
        host.on_http(lambda request: answer(400 if "bad" in request.text else 200))
        script = "def write(record):\n    http.post('/in', record.value).error_for_status()"
        rejected = Driver(ScriptSink, {"script": script}).write("items", [{"a": "good"}, {"a": "bad"}])
        self.assertEqual(list(rejected), [1])
        self.assertEqual(len(host.requests), 2)


if __name__ == "__main__":
    unittest.main()
