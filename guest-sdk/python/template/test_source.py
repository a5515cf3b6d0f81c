import unittest

from crossdock_sdk import Fault
from crossdock_sdk.testing import Driver, Host, answer, read_all
from plugin import {{Type}}

CONFIG = {"connection": "shop", "page": 2}


class {{Type}}Test(unittest.TestCase):
    def test_every_item_comes_once_wherever_it_is_interrupted(self):
        def api(request):
            after = request.url.split("=")[1].split("&")[0]
            return answer(200, [{"id": id} for id in "abcde" if id > after][:2])

        host = Host()
        host.on_http(api)
        records = read_all({{Type}}, CONFIG)
        self.assertEqual([record.key for record in records], list("abcde"))
        self.assertEqual(host.requests[0].url, "/items?after=&limit=2")

    def test_what_the_api_refuses_is_told(self):
        Host().on_http(lambda request: answer(503, "come back later"))
        with self.assertRaisesRegex(Fault, "503: come back later") as raised:
            Driver({{Type}}, CONFIG).read()
        self.assertEqual(raised.exception.kind, "transient")


if __name__ == "__main__":
    unittest.main()
