"""Cases, and the audit chain with what somebody may do to it."""

import contextlib
import hashlib
import sqlite3

from lab import Case, main, NO, NOT_NOW, USAGE, ZEROES


class Cases(Case):
    def test_case(self):
        stuck = self.stuck_order()
        rows = self.json("case", "list")["cases"]
        self.assertEqual([(row["id"], row["state"], row["subject"]) for row in rows], [(1, "OPEN", stuck)])
        self.cdtx("case", "note", "1", "called the warehouse", "--actor", "ann")
        self.cdtx("case", "assign", "1", "bob", "--reason", "he has the keys", "--actor", "ann")
        shown = self.json("case", "show", "1")
        self.assertEqual(shown["case"]["assignee"], "bob")
        self.assertIn("the warehouse is closed", shown["case"]["evidence"])
        self.assertEqual([line["action"] for line in shown["notes"]], ["note", "assign"])
        self.assertEqual(shown["notes"][0]["reason"], "called the warehouse")
        self.assertEqual(shown["audit"][0]["action"], "case-open")
        text = self.cdtx("case", "show", "1").out
        self.assertRegex(text, r"assigned to +bob")
        self.assertIn("called the warehouse", text)
        self.assertIn("called the warehouse", self.cdtx("tx", "show", stuck).out)
        self.assertIn("assigned to bob", self.cdtx("tx", "show", stuck).out)
        self.says(NO, "no case 2", "case", "show", "2")
        self.says(NO, "no case 2", "case", "note", "2", "x")
        self.says(USAGE, "not a number", "case", "show", "one")
        self.says(USAGE, "ID TEXT", "case", "note", "1")
        self.says(USAGE, "--reason", "case", "assign", "1", "bob")
        self.cdtx("tx", "unpark", stuck, "--reason", "done")
        self.assertEqual(self.json("case", "list")["cases"], [])
        closed = self.json("case", "list", "--state", "closed")["cases"]
        self.assertEqual([row["id"] for row in closed], [1])
        self.assertIsInstance(closed[0]["closed_ms"], int)
        self.says(NOT_NOW, "closed", "case", "assign", "1", "ann", "--reason", "x")
        self.assertIn("no cases", self.cdtx("case", "list").err)
        self.assertEqual(self.json("case", "list", "--state", "closed", "--after", "1")["cases"], [])


class Audit(Case):
    def setUp(self):
        super().setUp()
        self.gid = self.stuck_order()
        for word in ("one", "two", "three"):
            self.cdtx("case", "note", "1", word, "--actor", "ann")

    def head(self):
        chain = self.json("audit", "verify")["chains"][0]
        return f"{chain['lines']}:{chain['head']}"

    def test_list(self):
        def ids(*words):
            return [line["id"] for line in self.json("audit", "list", *words)["audit"]]

        self.assertEqual(ids(), [1, 2, 3, 4])
        self.assertEqual(ids("--limit", "2"), [3, 4])
        self.assertIn("older", self.cdtx("audit", "list", "--limit", "2").err)
        self.assertEqual(ids("--after", "1", "--limit", "2"), [2, 3])
        self.assertEqual(ids("--subject", "case 1"), [2, 3, 4])
        self.assertEqual(ids("--subject", f"tx {self.gid}"), [1])
        # Each database has latest lines of its own.
        for handler in ("mint", "mail"):
            self.cdtx("handler", "pause", f"orders/{handler}", *self.databases, "--reason", "x")
        several = self.json("audit", "list", "--limit", "1", *self.databases)
        self.assertEqual([(line["database"], line["id"]) for line in several["audit"]], [("log", 4), ("orders", 2)])
        self.assertTrue(several["more"])
        lines = self.cdtx("audit", "list", "--limit", "3", *self.databases).out.rstrip().split("\n")
        self.assertEqual([line.split()[0] for line in lines[1:]], ["log/2", "log/3", "log/4", "orders/1", "orders/2"])
        table = self.cdtx("audit", "list").out
        self.assertRegex(table, r"log/2 +\w+.* ann +note +case 1 +one")

    def test_verify(self):
        good = self.json("audit", "verify")
        self.assertTrue(good["intact"])
        self.assertEqual((good["chains"][0]["database"], good["chains"][0]["lines"]), ("log", 4))
        text = self.cdtx("audit", "verify").out
        self.assertRegex(text, rf"^log: 4 lines, every hash is right; head {self.head()}\n$")
        head = self.head()
        self.cdtx("case", "note", "1", "later")
        self.assertNotEqual(self.head(), head)
        self.cdtx("audit", "verify", "--head", head)
        self.cdtx("audit", "verify", "--head", f"log/{head}", *self.databases)
        self.cdtx("audit", "verify", "--head", f"0:{ZEROES}")
        answer = self.cdtx("audit", "verify", "--head", "4:" + "1" * 64, code=NO)
        self.assertIn("line 4 has not the hash known of it", answer.out)
        self.cdtx("audit", "verify", "--head", f"stock/{head}", *self.databases, code=NO)
        self.says(USAGE, "no database is named 'stock'", "audit", "verify", "--head", f"stock/{head}")
        self.says(USAGE, "say NAME/LINE:HASH", "audit", "verify", "--log=", "--head", head, *self.databases)
        self.cdtx("audit", "verify", "--log=", "--head", f"0:{ZEROES}", self.orders)
        for bad in (f"/{head}", "xyz", ZEROES, f":{ZEROES}", f"x:{ZEROES}", f"-1:{ZEROES}", "1:" + "A" * 64,
                    f"1:{ZEROES}0"):
            self.says(USAGE, "--head", "audit", "verify", "--head", bad)

    def test_long_chain(self):
        """Lines hashed here, as the documentation has it, go on the chain; they take several pages."""
        with contextlib.closing(sqlite3.connect(f"{self.folder}/log.db")) as connection, connection:
            previous = connection.execute("SELECT hash FROM cdtx_audit WHERE id = 4").fetchone()[0]
            for number in range(5, 3501):
                texts = ("ann", "note", "case 1", f"note {number} \u00fc")
                fields = [previous, number.to_bytes(8, "big"), *(text.encode() for text in texts), bytes(8)]
                digest = hashlib.sha256(b"".join(len(field).to_bytes(4, "big") + field for field in fields)).digest()
                connection.execute(
                    "INSERT INTO cdtx_audit (id, previous, actor, action, subject, reason, at_ms, hash)"
                    " VALUES (?, ?, ?, ?, ?, ?, 0, ?)",
                    (number, previous, *texts, digest),
                )
                previous = digest
        self.assertEqual(self.head(), f"3500:{previous.hex()}")
        out, seen = self.watched("audit", "verify", "--head", f"3500:{previous.hex()}")
        self.assertIn("3500 lines, every hash is right", out)
        self.assertRegex(seen, r"1000 of 3500 audit lines, 28%, about \d+ s left")
        self.assertIn("3000 of 3500 audit lines, 85%", seen)
        self.assertTrue(seen.endswith("\r\x1b[K"), seen)
        self.assertEqual([line["id"] for line in self.json("audit", "list", "--limit", "2")["audit"]], [3499, 3500])

    def test_several_databases(self):
        chains = self.json("audit", "verify", *self.databases)["chains"]
        self.assertEqual([(c["database"], c["lines"]) for c in chains], [("log", 4), ("orders", 0), ("stock", 0)])
        self.assertEqual(chains[1]["head"], ZEROES)

    def test_tampered(self):
        self.sql("log.db", "UPDATE cdtx_audit SET reason = 'nothing' WHERE id = 3")
        answer = self.cdtx("audit", "verify", code=NO)
        self.assertIn("3", answer.out)
        bad = self.json("audit", "verify", code=NO)
        self.assertFalse(bad["intact"])
        self.assertIn("3", bad["chains"][0]["error"])
        self.assertIsNone(bad["chains"][0]["head"])

    def test_cut_off(self):
        head = self.head()
        self.sql("log.db", "DELETE FROM cdtx_audit WHERE id = 4")
        self.cdtx("audit", "verify")
        self.assertIn("cut off", self.cdtx("audit", "verify", "--head", head, code=NO).out)

    def test_gap(self):
        self.sql("log.db", "DELETE FROM cdtx_audit WHERE id = 2")
        self.cdtx("audit", "verify", code=NO)


if __name__ == "__main__":
    main()
