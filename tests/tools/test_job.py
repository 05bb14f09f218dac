"""Jobs in all states."""

import json

from lab import Case, main, NO, NOT_NOW, USAGE


class Jobs(Case):
    def make(self):
        self.killed("job mint dead", "kill", "job mint leased", "take", "job mint ready", "job later waiting")

    def test_list(self):
        self.make()
        rows = self.only_json("job", "list")["jobs"]
        self.assertEqual([row["state"] for row in rows], ["DEAD", "LEASED", "READY", "READY"])
        self.assertEqual([row["id"] for row in rows], [1, 2, 3, 4])
        self.assertEqual({row["database"] for row in rows}, {"orders"})
        self.assertEqual(rows[0]["error"], "no such collectible")
        self.assertIsNone(rows[0]["due_in_ms"])
        self.assertEqual(rows[3]["unique_key"], "waiting")
        table = self.only("job", "list").out
        self.assertRegex(table, r"orders/1 +mint +default +DEAD +0 +1 +0 +- +now +no such collectible")
        dead = self.only_json("job", "list", "--state", "dead")["jobs"]
        self.assertEqual([row["id"] for row in dead], [1])
        later = self.only_json("job", "list", "--handler", "later")["jobs"]
        self.assertEqual([row["id"] for row in later], [4])
        rest = self.only_json("job", "list", "--after", "2")["jobs"]
        self.assertEqual([row["id"] for row in rest], [3, 4])
        self.says(USAGE, "--after 'x'", "job", "list", "--after", "x", self.orders)
        both = json.loads(self.cdtx("job", "list", *self.databases, "--json", "--limit", "2").out)
        self.assertEqual([row["id"] for row in both["jobs"]], [1, 2])
        self.assertTrue(both["more"])

    def test_the_librarys_own(self):
        """Those that schedules and topics live by are no work of the host's; deliveries are."""
        self.killed("cron night", "topic sales", "join sales mail", "send sales x", "job mint a")

        def handlers(*words):
            return [row["handler"] for row in self.only_json("job", "list", *words)["jobs"]]

        delivery, own = "cdtx.msg/sales/mail", ["cdtx.cron", "cdtx.msg.keep"]
        self.assertEqual(handlers(), [delivery, "mint"])
        self.assertEqual(handlers("--all"), [*own, delivery, "mint"])
        for name in own:
            self.assertEqual(handlers("--handler", name), [name])
        self.assertEqual(handlers("--limit", "1"), [delivery])
        self.assertTrue(self.only_json("job", "list", "--limit", "1")["more"])
        self.assertFalse(self.only_json("job", "list", "--limit", "2")["more"])
        self.assertIn("no jobs", self.only("job", "list", "--state", "leased").err)
        # One that is dead is somebody's business.
        self.sql("orders.db", "UPDATE cdtx_job SET state = 3 WHERE handler = 'cdtx.cron'")
        self.assertEqual(handlers("--state", "dead"), ["cdtx.cron"])
        self.assertEqual(handlers(), ["cdtx.cron", delivery, "mint"])

    def test_show(self):
        self.make()
        shown = self.only_json("job", "show", "1")
        self.assertEqual(shown["job"]["payload"], "mint neon-crab")
        self.assertEqual(shown["audit"], [])
        text = self.only("job", "show", "orders/1").out
        self.assertRegex(text, r"^job +orders/1\n(.*\n)*payload +mint neon-crab \(14 bytes\)\n\n")
        self.assertRegex(text, r"(?m)^put +(now|\d+s ago)$")
        self.says(USAGE, "say NAME/1", "job", "show", "1", self.orders)
        self.assertEqual(self.json("job", "show", "orders/1", self.orders)["job"]["id"], 1)
        self.says(NO, "no job 99", "job", "show", "orders/99", self.orders)
        self.says(USAGE, "no database is named 'other'", "job", "show", "other/1", self.orders)
        for bad in ("x", "0", "-1", "1x", "orders/", "orders/ 1", "99999999999999999999"):
            self.says(USAGE, "is not a number above 0", "job", "show", self.orders, "--", f"orders/{bad}")
        self.assertEqual(self.run_tool("job", "show", "log/1", self.orders).code, USAGE)
        self.assertEqual(self.run_tool("job", "list").code, USAGE)

    def test_keys(self):
        """One behind the live one of its unique key, and one behind the first of its concurrency key."""
        # The second take passes over the one that has to wait.
        self.killed("job mint key row", "take", "job mint key", "job mint other row", "job mint last", "take")
        rows = self.only_json("job", "list")["jobs"]
        self.assertEqual([row["state"] for row in rows], ["LEASED", "NEXT", "WAITING", "LEASED"])
        following, waiting = (str(row["id"]) for row in rows[1:3])
        for state, number in (("next", following), ("WAITING", waiting)):
            found = self.only_json("job", "list", "--state", state)["jobs"]
            self.assertEqual([str(row["id"]) for row in found], [number])
            self.assertRegex(self.only("job", "list", "--state", state).out, rf"orders/{number} .* {state.upper()} ")
        for number in (following, waiting):
            self.assertIn("behind", self.only("job", "retry", number, "--reason", "x", code=NOT_NOW).err)
        shown = self.only_json("job", "show", waiting)["job"]
        self.assertEqual((shown["concurrency_key"], shown["unique_key"]), ("row", "other"))
        self.assertGreater(shown["deadline_in_ms"], 7000000)
        self.assertGreaterEqual(shown["age_ms"], 0)
        self.assertRegex(self.only("job", "show", waiting).out, r"(?m)^deadline +in \d+m$")
        self.assertIsNone(self.only_json("job", "show", following)["job"]["deadline_in_ms"])
        self.assertNotIn("deadline", self.only("job", "show", following).out)

    def test_history(self):
        self.killed("job mint twice", "fail", "kill", "job mint never")
        shown = self.only_json("job", "show", "1")
        self.assertEqual(
            [(line["attempt"], line["code"], line["error"]) for line in shown["history"]],
            [(1, "CDTX_IO", "the mint is closed"), (2, "CDTX_REFUSED", "no such collectible")],
        )
        self.assertIsInstance(shown["history"][0]["at_ms"], int)
        text = self.only("job", "show", "1").out
        self.assertRegex(text, r"\nAttempts that ended badly\n +WHEN +ATTEMPT +CODE +ERROR\n.* 1 +CDTX_IO +the mint is")
        self.assertEqual(self.only_json("job", "show", "2")["history"], [])
        self.assertNotIn("Attempts", self.only("job", "show", "2").out)

    def test_retry_and_cancel(self):
        self.make()
        self.only("job", "retry", "1", "--reason", "it exists now", "--actor", "ann")
        shown = self.only_json("job", "show", "1")
        self.assertEqual((shown["job"]["state"], shown["job"]["attempts"]), ("READY", 0))
        self.assertEqual((shown["audit"][0]["actor"], shown["audit"][0]["action"]), ("ann", "retry"))
        self.assertIn("leased", self.only("job", "retry", "2", "--reason", "x", code=NOT_NOW).err)
        self.assertIn("leased", self.only("job", "cancel", "2", "--reason", "x", "--yes", code=NOT_NOW).err)
        self.assertIn("--yes", self.only("job", "cancel", "4", "--reason", "x", code=USAGE).err)
        self.assertEqual(self.only_json("job", "show", "4")["job"]["state"], "READY")
        self.only("job", "cancel", "4", "--reason", "nobody wants it", "--yes")
        self.assertIn("done or cancelled", self.only("job", "show", "4", code=NO).err)
        self.only("job", "cancel", "4", "--reason", "again", "--yes", code=NO)
        lines = self.only_json("audit", "list")["audit"]
        self.assertEqual([line["action"] for line in lines], ["retry", "cancel"])
        self.assertIn("--reason", self.only("job", "retry", "3", code=USAGE).err)

    def test_cancel_shows_what_it_takes(self):
        self.make()
        seen = self.typed("n", "job", "cancel", "1", "--reason", "x", self.orders, code=NO).err
        self.assertRegex(seen, r"job +orders/1\r\n(.*\r\n)*last error +no such collectible\r\n(.*\r\n)*.* \[y/N\] ")
        self.assertEqual(self.only_json("job", "show", "1")["job"]["state"], "DEAD")
        none = self.typed("y", "job", "cancel", "99", "--reason", "x", self.orders, code=NO).err
        self.assertIn("no job 99", none)
        self.assertNotIn("[y/N]", none)
        self.sql("orders.db", "UPDATE cdtx_job SET error = char(27) || '[2J' WHERE id = 1")
        seen = self.typed("y", "job", "cancel", "1", "--reason", "x", self.orders).err
        self.assertNotIn("\x1b", seen)
        self.only("job", "show", "1", code=NO)


if __name__ == "__main__":
    main()
