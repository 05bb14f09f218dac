"""Counting, and looking for what is wrong."""

from lab import Case, main, NO, Shop, shop


class Health(Case):
    def test_stats(self):
        self.close_warehouse()
        self.killed("stuck a", "open b", "job mint x", "job mint y", "kill")
        stats = self.json("stats", *self.databases)
        tx = stats["transactions"]
        self.assertEqual((tx["open"], tx["parked"], tx["COMMITTING"], tx["ACTIVE"]), (2, 1, 1, 1))
        self.assertIsInstance(tx["oldest_began_ms"], int)
        self.assertEqual((tx["due"], stats["jobs_due"]), (0, 1))
        self.assertEqual(stats["cases"], 1)
        self.assertEqual(
            stats["jobs"],
            [{"database": "orders", "handler": "mint", "READY": 1, "LEASED": 0, "WAITING": 0, "DEAD": 1,
              "paused": False}],
        )
        self.assertEqual([stats[key] for key in ("dead", "paused", "lag", "halves")], [1, 0, 0, 0])
        table = self.cdtx("stats", *self.databases).out
        self.assertRegex(table, r"not ended +2: 1 ACTIVE, 1 COMMITTING\n")
        self.assertRegex(table, r"orders +mint +1 +0 +0 +1\n")
        self.assertRegex(table, r"dead letters +1\npaused handlers +0\nlag of all groups +0\nhalves not resolved +0\n")

    def test_stats_of_nothing(self):
        shop_ = Shop(self.folder)
        shop_.close()
        stats = self.json("stats")
        self.assertEqual((stats["transactions"]["open"], stats["transactions"]["oldest_began_ms"]), (0, None))
        self.assertEqual(stats["jobs"], [])
        self.cdtx("stats")

    def test_stats_of_messages(self):
        self.killed("topic sales", "join sales mail", "join sales books", "send sales one", "send sales two", "kill",
                    "half sales web")
        self.cdtx("handler", "pause", "orders/cdtx.msg/sales/mail", *self.databases, "--reason", "x")
        stats = self.json("stats", *self.databases)
        self.assertEqual([stats[key] for key in ("dead", "paused", "lag", "halves")], [1, 1, 3, 1])
        self.assertEqual(
            {line["handler"]: line["paused"] for line in stats["jobs"] if line["handler"].startswith("cdtx.msg/")},
            {"cdtx.msg/sales/mail": True, "cdtx.msg/sales/books": False},
        )
        # Without a log there is no word on transactions.
        alone = self.only_json("stats")
        self.assertNotIn("transactions", alone)
        self.assertEqual((alone["lag"], alone["cases"]), (3, 0))
        # A name in the file is no command for the terminal.
        self.sql("orders.db", "UPDATE cdtx_job SET handler = 'a' || char(27) || '[2J' WHERE state = 3")
        for words in (["stats"], ["handler", "list"], ["doctor"]):
            out = self.run_tool(*words, self.orders).out
            self.assertNotIn("\x1b", out)
            self.assertRegex(out, r"a(\\x1b|\?)\[2J")

    def test_doctor_is_content(self):
        with shop(self.folder) as it:
            it.ask("order a")
        findings = self.json("doctor", *self.databases)
        self.assertEqual(findings["problems"], 0)
        self.assertTrue(findings["findings"])
        for row in findings["findings"]:
            self.assertIn(row["level"], ("ok", "note"))
        self.assertRegex(self.cdtx("doctor", *self.databases).out, r"^LEVEL +IN +CHECK +FINDING\n")
        deep = self.json("doctor", "--deep", *self.databases)
        self.assertEqual(deep["problems"], 0)
        self.assertGreater(len(deep["findings"]), len(findings["findings"]))

    def test_doctor_finds(self):
        self.stuck_order()
        self.sql("log.db", "UPDATE cdtx_audit SET reason = 'nothing' WHERE id = 1")
        findings = self.json("doctor", code=NO)
        self.assertGreaterEqual(findings["problems"], 1)
        problems = [row for row in findings["findings"] if row["level"] == "problem"]
        self.assertEqual(len(problems), findings["problems"])
        self.assertTrue(any("audit" in row["check"] for row in problems), problems)
        told = self.cdtx("doctor", code=NO)
        self.assertIn(f"{len(problems)} problem", told.err)
        for row in problems:
            self.assertIn(f"\n    {row['advice']}\n", told.out)

    def test_doctor_finds_what_waits(self):
        self.close_warehouse()
        held = self.killed("topic sales", "topic news", "send news unheard", "join sales mail", "send sales one",
                           "kill", "checker web", "half sales web", "doubt", "cron night", "announce sales",
                           "stuck a")[-1]
        self.cdtx("tx", "resolve", held, "--reason", "by hand", "--yes")
        self.cdtx("handler", "pause", "orders/mint", *self.databases, "--reason", "no metal")
        self.sql("orders.db", "DELETE FROM cdtx_job WHERE handler = 'cdtx.cron'")
        findings = self.json("doctor", *self.databases, code=NO)["findings"]

        def finding(level, check, words, database="orders"):
            rows = [row for row in findings if row["level"] == level and row["check"] == check
                    and row["database"] == database and words in row["finding"]]
            self.assertEqual(len(rows), 1, (check, words, findings))
            return rows[0]["advice"]

        self.assertIn(
            "cdtx job redrive --handler orders/cdtx.msg/sales/mail",
            finding("problem", "dead letters", "1 deliveries of group 'sales/mail' are dead; the last one: no such"),
        )
        self.assertIn("cdtx handler resume orders/mint", finding("note", "pauses", "handler 'mint' has been paused"))
        self.assertIn("cdtx cron list", finding("problem", "schedules", "schedule 'night' will not fire"))
        self.assertIn("cdtx half rollback", finding("problem", "halves", "1 half messages are parked"))
        self.assertIn("cdtx topic list", finding("note", "topics", "topic 'news' has no group, and keeps 1 messages"))
        self.assertIn("cdtx case list", finding("note", "cases", "1 are open"))
        self.assertIn(
            f"cdtx tx show {held}", finding("problem", "held messages", "1 messages are held by branches of", "stock")
        )

    def test_doctor_finds_damage_only_when_deep(self):
        self.killed(*(f"job later key-{i}" for i in range(200)))
        self.sql("orders.db", "PRAGMA wal_checkpoint(TRUNCATE)")
        page = self.ask("orders.db", "SELECT rootpage FROM sqlite_schema WHERE name = 'cdtx_job_due'")[0][0]
        with open(f"{self.folder}/orders.db", "r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\xff" * 64)
        problems = [
            row for row in self.only_json("doctor", "--deep", code=NO)["findings"]
            if row["level"] == "problem" and row["database"] == "orders"
        ]
        self.assertTrue(problems)


if __name__ == "__main__":
    main()
