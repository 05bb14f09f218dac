"""Counting, and looking for what is wrong."""

import contextlib
import json
import sqlite3

from lab import Case, main, NO, Shop, shop


class Health(Case):
    def test_stats(self):
        self.close_warehouse()
        with shop(self.folder) as it:
            gid = it.ask("order a")
            it.ask(f"parked {gid}")
            it.ask("open b")
            it.ask("job mint x")
            it.ask("job mint y")
            it.ask("kill")
            it.kill()
        stats = self.json("stats", *self.databases)
        tx = stats["transactions"]
        self.assertEqual((tx["open"], tx["parked"], tx["COMMITTING"], tx["ACTIVE"]), (2, 1, 1, 1))
        self.assertIsInstance(tx["oldest_began_ms"], int)
        self.assertEqual((tx["due"], stats["jobs_due"]), (0, 1))
        self.assertEqual(stats["cases"], 1)
        self.assertEqual(
            stats["jobs"], [{"database": "orders", "handler": "mint", "READY": 1, "LEASED": 0, "DEAD": 1}]
        )
        table = self.cdtx("stats", *self.databases).out
        self.assertRegex(table, r"not ended +2: 1 ACTIVE, 1 COMMITTING\n")
        self.assertRegex(table, r"orders +mint +1 +0 +1\n")

    def test_stats_of_nothing(self):
        shop_ = Shop(self.folder)
        shop_.close()
        stats = self.json("stats")
        self.assertEqual((stats["transactions"]["open"], stats["transactions"]["oldest_began_ms"]), (0, None))
        self.assertEqual(stats["jobs"], [])
        self.cdtx("stats")

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

    def test_doctor_finds_damage_only_when_deep(self):
        with shop(self.folder) as it:
            for i in range(200):
                it.ask(f"open key-{i}" if i < 2 else f"job later key-{i}")
            it.kill()
        self.sql("orders.db", "PRAGMA wal_checkpoint(TRUNCATE)")
        with contextlib.closing(sqlite3.connect(f"{self.folder}/orders.db")) as connection:
            page = connection.execute(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'cdtx_job_due'").fetchone()[0]
        with open(f"{self.folder}/orders.db", "r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\xff" * 64)
        orders = self.databases[0]
        problems = [
            row for row in json.loads(self.cdtx("doctor", "--deep", orders, "--json", code=NO).out)["findings"]
            if row["level"] == "problem" and row["database"] == "orders"
        ]
        self.assertTrue(problems)


if __name__ == "__main__":
    main()
