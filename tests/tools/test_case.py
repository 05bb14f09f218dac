"""Cases, and the audit chain with what somebody may do to it."""

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
        return self.json("audit", "verify")["chains"][0]["head"]

    def test_list(self):
        def ids(*words):
            return [line["id"] for line in self.json("audit", "list", *words)["audit"]]

        self.assertEqual(ids(), [1, 2, 3, 4])
        self.assertEqual(ids("--limit", "2"), [3, 4])
        self.assertIn("older", self.cdtx("audit", "list", "--limit", "2").err)
        self.assertEqual(ids("--after", "1", "--limit", "2"), [2, 3])
        self.assertEqual(ids("--subject", "case 1"), [2, 3, 4])
        self.assertEqual(ids("--subject", f"tx {self.gid}"), [1])
        table = self.cdtx("audit", "list").out
        self.assertRegex(table, r"log/2 +\w+.* ann +note +case 1 +one")

    def test_verify(self):
        good = self.json("audit", "verify")
        self.assertTrue(good["intact"])
        self.assertEqual((good["chains"][0]["database"], good["chains"][0]["lines"]), ("log", 4))
        text = self.cdtx("audit", "verify").out
        self.assertRegex(text, r"^log: 4 lines, every hash is right; the last is [0-9a-f]{64}\n$")
        head = self.head()
        self.cdtx("case", "note", "1", "later")
        self.assertNotEqual(self.head(), head)
        self.cdtx("audit", "verify", "--head", head)
        self.cdtx("audit", "verify", "--head", ZEROES)
        answer = self.cdtx("audit", "verify", "--head", "1" * 64, code=NO)
        self.assertIn("cut off", answer.err)
        self.says(USAGE, "64 hexadecimal", "audit", "verify", "--head", "xyz")

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
        self.cdtx("audit", "verify", "--head", head, code=NO)

    def test_gap(self):
        self.sql("log.db", "DELETE FROM cdtx_audit WHERE id = 2")
        self.cdtx("audit", "verify", code=NO)


if __name__ == "__main__":
    main()
