"""What ./dev test adds up: nothing that did not pass counts as passed."""

import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import count


def entry(result="OK", stdout=""):
    return json.dumps({"name": "x", "result": result, "stdout": stdout})


class Count(unittest.TestCase):
    def test_plain_tests_are_one_each(self):
        self.assertEqual(count.count_log([entry(), entry(), ""], 0), (2, 0))

    def test_checks_count_each(self):
        out = "Running suite(s): a\n80%: Checks: 10, Failures: 1, Errors: 1\n"
        self.assertEqual(count.count_log([entry("FAIL", out), entry()], 1), (9, 2))

    def test_what_did_not_pass_failed(self):
        for result in ("FAIL", "ERROR", "TIMEOUT", "SKIP", "INTERRUPT"):
            self.assertEqual(count.count_log([entry(), entry(result)], 0), (1, 1), result)

    def test_a_crash_after_good_checks_is_a_failure(self):
        self.assertEqual(count.count_log([entry("FAIL", "100%: Checks: 3, Failures: 0, Errors: 0\n")], 1), (3, 1))

    def test_nothing_run_or_a_status_without_reason(self):
        self.assertEqual(count.count_log([], 0), (0, 1))
        self.assertEqual(count.count_log([entry()], 2), (1, 1))


if __name__ == "__main__":
    unittest.main()
