import unittest

from crossdock_sdk import Output
from crossdock_sdk.testing import Driver, Host, answer
from plugin import {{Type}}


class {{Type}}Test(unittest.TestCase):
    def test_each_record_is_put_under_its_key_and_what_is_refused_is_rejected(self):
        host = Host()
        host.on_http(lambda request: answer(422 if request.url.endswith("/bad") else 204))
        sink = Driver({{Type}}, {"connection": "shop"})
        rejected = sink.write("items", [Output({"name": "Cup"}, key=key) for key in ("a/1", "bad", "")])
        self.assertEqual(list(rejected), [1, 2])
        self.assertEqual(host.requests[0].url, "/items/a%2F1")
        self.assertEqual(host.requests[0].text, '{"name":"Cup"}')

    def test_an_item_to_delete_that_is_not_there_is_as_good_as_deleted(self):
        Host().on_http(lambda request: answer(404 if request.method == "DELETE" else 500))
        sink = Driver({{Type}}, {"connection": "shop"})
        self.assertEqual(sink.write("items", [Output({}, key="a", op="delete")]), {})


if __name__ == "__main__":
    unittest.main()
