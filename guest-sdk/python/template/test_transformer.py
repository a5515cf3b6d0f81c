import unittest

from crossdock_sdk.testing import transform
from plugin import {{Type}}


class {{Type}}Test(unittest.TestCase):
    def test_a_field_is_changed_what_lacks_it_is_filtered_what_is_no_text_is_rejected(self):
        records = [{"name": "straße", "net": 9.9}, {"net": 1}, {"name": 7}]
        done = transform({{Type}}, {"field": "name"}, "items", records)
        self.assertEqual(done.values, [{"name": "STRASSE", "net": 9.9}])
        self.assertEqual(done.filtered, {"the field is missing": 1})
        self.assertIn("`name` is no text: 7", done.rejected[2].message)

    def test_small_letters(self):
        done = transform({{Type}}, {"field": "name", "letters": "lower"}, "items", [{"name": "CUP"}])
        self.assertEqual(done.values, [{"name": "cup"}])


if __name__ == "__main__":
    unittest.main()
