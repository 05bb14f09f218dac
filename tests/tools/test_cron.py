"""Schedules, and looking at a text before it is used."""

import datetime
import json
import time

from lab import Case, DONE, main, NO, shop, USAGE

DAY_MS = 86400000


class Cron(Case):
    def test_list(self):
        with shop(self.folder) as it:
            it.ask("cron night")
        schedules = self.json("cron", "list", *self.databases)["schedules"]
        self.assertEqual(
            list(schedules[0]), "database name when zone handler catch_up next_ms settled_ms payload".split()
        )
        self.assertEqual([schedules[0][key] for key in ("database", "name", "when", "zone", "handler", "catch_up")],
                         ["orders", "night", "30 2 * * *", "Europe/Berlin", "mint", "skip"])
        self.assertTrue(0 < schedules[0]["next_ms"] - time.time() * 1000 <= DAY_MS + 3600000)
        self.assertRegex(
            self.cdtx("cron", "list", *self.databases).out,
            r"^SCHEDULE .*\norders/night +30 2 \* \* \* +Europe/Berlin +mint +skip +in \d+[hms]\n$",
        )
        self.assertIn("no schedules", self.cdtx("cron", "list").err)
        # What a file says does not steer a terminal.
        self.sql("orders.db", "UPDATE cdtx_cron SET text = char(27) || '[2J'")
        self.assertIn("\\x1b[2J", self.cdtx("cron", "list", *self.databases).out)

    def next(self, *words, code=DONE):
        answer = self.run_tool("cron", "next", *words)
        self.assertEqual(answer.code, code, answer.out + answer.err)
        return answer

    def test_next(self):
        slots = json.loads(self.next("30 2 * * *", "--json").out)
        self.assertEqual((slots["when"], slots["zone"]), ("30 2 * * *", "UTC"))
        times = [slot["slot_ms"] for slot in slots["slots"]]
        self.assertEqual(len(times), 5)
        self.assertEqual({at % DAY_MS for at in times}, {9000000})
        self.assertEqual([later - at for at, later in zip(times, times[1:])], [DAY_MS] * 4)
        self.assertTrue(0 < times[0] - time.time() * 1000 <= DAY_MS)

    def test_next_in_a_zone(self):
        slots = json.loads(self.next("15 12 * * *", "--zone", "Europe/Berlin", "--count", "366", "--json").out)["slots"]
        self.assertEqual(len(slots), 366)
        for slot in slots:
            local = datetime.datetime.strptime(slot["local"], "%Y-%m-%dT%H:%M:%S%z")
            self.assertEqual((local.hour, local.minute), (12, 15))
            self.assertEqual(local.timestamp() * 1000, slot["slot_ms"])
        self.assertEqual({slot["local"][-5:] for slot in slots}, {"+0100", "+0200"})
        table = self.next("15 12 * * *", "--zone", "Europe/Berlin", "--count", "1").out
        self.assertRegex(table, r"^SLOT +LOCAL TIME +DUE\n"
                                r"\d{4}-\d\d-\d\d 1[01]:15 UTC +\w{3} \d{4}-\d\d-\d\d 12:15 \+0[12]00 +in \d+[hms]+\n$")

    def test_bad_input(self):
        for code, sentence, words in (
            (USAGE, "day-of-week field", ["30 2 * *"]),
            (USAGE, "minute field", ["60 2 * * *"]),
            (USAGE, "", [""]),
            (USAGE, "", ["@never"]),
            (NO, "no time zone 'Europe/Nowhere'", ["@daily", "--zone", "Europe/Nowhere"]),
            (USAGE, "no name of a time zone", ["@daily", "--zone", "../../etc/passwd"]),
            (USAGE, "needs WHEN", []),
            (USAGE, "'2' is too much", ["30", "2"]),
            (USAGE, "--count '0'", ["@daily", "--count", "0"]),
            (USAGE, "at most 1000", ["@daily", "--count", "1001"]),
            (USAGE, "--limit is not for", ["@daily", "--limit", "3"]),
        ):
            with self.subTest(words=words):
                answer = self.next(*words, code=code)
                self.assertIn(sentence, answer.err)
                self.assertEqual(answer.out, "")
        self.assertEqual(self.run_tool("cron", "list").code, USAGE)
        self.assertEqual(self.files(), [])


if __name__ == "__main__":
    main()
