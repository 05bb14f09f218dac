"""Jobs in all states."""

import json

from lab import Case, DONE, main, NO, NOT_NOW, shop, USAGE


class Jobs(Case):
    def setUp(self):
        super().setUp()
        self.orders = self.databases[0]

    def make(self):
        with shop(self.folder) as it:
            it.ask("job mint dead")
            it.ask("kill")
            it.ask("job mint leased")
            it.ask("take")
            it.ask("job mint ready")
            it.ask("job later waiting")
            it.kill()

    def jobs(self, *words, code=DONE):
        answer = self.run_tool(*words, self.orders)
        self.assertEqual(answer.code, code, f"{words}: {answer.out}{answer.err}")
        return answer

    def test_list(self):
        self.make()
        rows = json.loads(self.jobs("job", "list", "--json").out)["jobs"]
        self.assertEqual([row["state"] for row in rows], ["DEAD", "LEASED", "READY", "READY"])
        self.assertEqual([row["id"] for row in rows], [1, 2, 3, 4])
        self.assertEqual({row["database"] for row in rows}, {"orders"})
        self.assertEqual(rows[0]["error"], "no such collectible")
        self.assertIsNone(rows[0]["due_in_ms"])
        self.assertEqual(rows[3]["unique_key"], "waiting")
        table = self.jobs("job", "list").out
        self.assertRegex(table, r"orders/1 +mint +default +DEAD +0 +1 +0 +- +now +no such collectible")
        dead = json.loads(self.jobs("job", "list", "--state", "dead", "--json").out)["jobs"]
        self.assertEqual([row["id"] for row in dead], [1])
        later = json.loads(self.jobs("job", "list", "--handler", "later", "--json").out)["jobs"]
        self.assertEqual([row["id"] for row in later], [4])
        rest = json.loads(self.jobs("job", "list", "--after", "2", "--json").out)["jobs"]
        self.assertEqual([row["id"] for row in rest], [3, 4])
        self.says(USAGE, "--after 'x'", "job", "list", "--after", "x", self.orders)
        both = json.loads(self.cdtx("job", "list", *self.databases, "--json", "--limit", "2").out)
        self.assertEqual([row["id"] for row in both["jobs"]], [1, 2])
        self.assertTrue(both["more"])

    def test_the_librarys_own(self):
        """Those that schedules and topics live by are no work of the host's; deliveries are."""
        with shop(self.folder) as it:
            for line in ("cron night", "topic sales", "join sales mail", "send sales x", "job mint a"):
                it.ask(line)
            it.kill()

        def handlers(*words):
            return [row["handler"] for row in json.loads(self.jobs("job", "list", "--json", *words).out)["jobs"]]

        delivery, own = "cdtx.msg/sales/mail", ["cdtx.cron", "cdtx.msg.keep"]
        self.assertEqual(handlers(), [delivery, "mint"])
        self.assertEqual(handlers("--all"), [*own, delivery, "mint"])
        for name in own:
            self.assertEqual(handlers("--handler", name), [name])
        self.assertEqual(handlers("--limit", "1"), [delivery])
        self.assertTrue(json.loads(self.jobs("job", "list", "--json", "--limit", "1").out)["more"])
        self.assertFalse(json.loads(self.jobs("job", "list", "--json", "--limit", "2").out)["more"])
        self.assertIn("no jobs", self.jobs("job", "list", "--state", "leased").err)
        # One that is dead is somebody's business.
        self.sql("orders.db", "UPDATE cdtx_job SET state = 3 WHERE handler = 'cdtx.cron'")
        self.assertEqual(handlers("--state", "dead"), ["cdtx.cron"])
        self.assertEqual(handlers(), ["cdtx.cron", delivery, "mint"])

    def test_show(self):
        self.make()
        shown = json.loads(self.jobs("job", "show", "1", "--json").out)
        self.assertEqual(shown["job"]["payload"], "mint neon-crab")
        self.assertEqual(shown["audit"], [])
        text = self.jobs("job", "show", "orders/1").out
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
        with shop(self.folder) as it:
            it.ask("job mint key row")
            it.ask("take")
            it.ask("job mint key")
            it.ask("job mint other row")
            it.ask("job mint last")
            it.ask("take")  # which passes over the one that has to wait
            it.kill()
        rows = json.loads(self.jobs("job", "list", "--json").out)["jobs"]
        self.assertEqual([row["state"] for row in rows], ["LEASED", "NEXT", "WAITING", "LEASED"])
        following, waiting = (str(row["id"]) for row in rows[1:3])
        for state, number in (("next", following), ("WAITING", waiting)):
            found = json.loads(self.jobs("job", "list", "--state", state, "--json").out)["jobs"]
            self.assertEqual([str(row["id"]) for row in found], [number])
            self.assertRegex(self.jobs("job", "list", "--state", state).out, rf"orders/{number} .* {state.upper()} ")
        for number in (following, waiting):
            self.assertIn("behind", self.jobs("job", "retry", number, "--reason", "x", code=NOT_NOW).err)
        shown = json.loads(self.jobs("job", "show", waiting, "--json").out)["job"]
        self.assertEqual((shown["concurrency_key"], shown["unique_key"]), ("row", "other"))
        self.assertGreater(shown["deadline_in_ms"], 7000000)
        self.assertGreaterEqual(shown["age_ms"], 0)
        self.assertRegex(self.jobs("job", "show", waiting).out, r"(?m)^deadline +in \d+m$")
        self.assertIsNone(json.loads(self.jobs("job", "show", following, "--json").out)["job"]["deadline_in_ms"])
        self.assertNotIn("deadline", self.jobs("job", "show", following).out)

    def test_history(self):
        with shop(self.folder) as it:
            it.ask("job mint twice")
            it.ask("fail")
            it.ask("kill")
            it.ask("job mint never")
            it.kill()
        shown = json.loads(self.jobs("job", "show", "1", "--json").out)
        self.assertEqual(
            [(line["attempt"], line["code"], line["error"]) for line in shown["history"]],
            [(1, "CDTX_IO", "the mint is closed"), (2, "CDTX_REFUSED", "no such collectible")],
        )
        self.assertIsInstance(shown["history"][0]["at_ms"], int)
        text = self.jobs("job", "show", "1").out
        self.assertRegex(text, r"\nAttempts that ended badly\n +WHEN +ATTEMPT +CODE +ERROR\n.* 1 +CDTX_IO +the mint is")
        self.assertEqual(json.loads(self.jobs("job", "show", "2", "--json").out)["history"], [])
        self.assertNotIn("Attempts", self.jobs("job", "show", "2").out)

    def test_retry_and_cancel(self):
        self.make()
        self.jobs("job", "retry", "1", "--reason", "it exists now", "--actor", "ann")
        shown = json.loads(self.jobs("job", "show", "1", "--json").out)
        self.assertEqual((shown["job"]["state"], shown["job"]["attempts"]), ("READY", 0))
        self.assertEqual((shown["audit"][0]["actor"], shown["audit"][0]["action"]), ("ann", "retry"))
        self.assertIn("leased", self.jobs("job", "retry", "2", "--reason", "x", code=NOT_NOW).err)
        self.assertIn("leased", self.jobs("job", "cancel", "2", "--reason", "x", "--yes", code=NOT_NOW).err)
        self.assertIn("--yes", self.jobs("job", "cancel", "4", "--reason", "x", code=USAGE).err)
        self.assertEqual(json.loads(self.jobs("job", "show", "4", "--json").out)["job"]["state"], "READY")
        self.jobs("job", "cancel", "4", "--reason", "nobody wants it", "--yes")
        self.assertIn("done or cancelled", self.jobs("job", "show", "4", code=NO).err)
        self.jobs("job", "cancel", "4", "--reason", "again", "--yes", code=NO)
        lines = json.loads(self.jobs("audit", "list", "--json").out)["audit"]
        self.assertEqual([line["action"] for line in lines], ["retry", "cancel"])
        self.assertIn("--reason", self.jobs("job", "retry", "3", code=USAGE).err)


if __name__ == "__main__":
    main()
