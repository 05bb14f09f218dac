"""Handlers held up and let go, and another life for what they gave up."""

import json

from lab import Case, DONE, main, NO, NOT_NOW, shop, UNKNOWN, USAGE


class Orders(Case):
    def states(self):
        rows = self.only_json("job", "list")["jobs"]
        return {row["id"]: row["state"] for row in rows}

    def audit(self):
        lines = self.only_json("audit", "list")["audit"]
        return [(line["actor"], line["action"], line["subject"], line["reason"]) for line in lines]


class Handlers(Orders):
    def test_list(self):
        self.killed("job mint a", "kill", "job mint b", "job mint c", "job later d", "take")
        rows = self.only_json("handler", "list")
        self.assertFalse(rows["more"])
        later, mint = rows["handlers"]
        self.assertEqual(
            list(mint), "database handler here paused_ms ready due leased waiting dead oldest_ms".split()
        )
        self.assertEqual((mint["database"], mint["handler"], mint["paused_ms"]), ("orders", "mint", None))
        self.assertEqual([mint[key] for key in ("ready", "due", "leased", "waiting", "dead")], [1, 1, 1, 0, 1])
        self.assertEqual([later[key] for key in ("handler", "ready", "due")], ["later", 1, 0])
        self.assertRegex(self.only("handler", "list").out, r"orders/mint +- +1 +1 +1 +0 +1 +(now|\d+s ago)\n")
        every = self.json("handler", "list", *self.databases)["handlers"]
        self.assertEqual([row["handler"] for row in every], ["later", "mint"])
        self.assertIn("no handlers", self.cdtx("handler", "list").err)

    def test_pause_and_resume(self):
        with shop(self.folder, "share") as it:
            it.ask("job mint a")
            pause = ["handler", "pause", "mint", "--reason", "no metal", "--actor", "ann"]
            done = self.only_json(*pause)
            self.assertEqual(done, {"done": "handler pause", "subject": "orders/mint"})
            it.process.stdin.write("take 200\n")
            it.process.stdin.flush()
            self.assertTrue(it.process.stdout.readline().startswith("no "))
            paused = self.only_json("handler", "list")["handlers"][0]
            self.assertIsInstance(paused["paused_ms"], int)
            self.only("handler", "pause", "orders/mint", "--reason", "again")
            told = self.only("handler", "resume", "orders/mint", "--reason", "metal came", "--actor", "bob")
            self.assertEqual((told.out, told.err), ("orders/mint: goes on\n", ""))
            self.assertEqual(it.ask("take"), "1")
        self.assertEqual(self.audit(), [
            ("ann", "pause", "handler mint", "no metal"), ("bob", "resume", "handler mint", "metal came")])
        lines = self.only_json("audit", "list", "--subject", "handler mint")["audit"]
        self.assertEqual(len(lines), 2)

    def test_bad_names(self):
        with shop(self.folder) as it:
            self.says(NOT_NOW, "owned by process", "handler", "pause", "orders/mint", self.orders, "--reason", "x")
            it.ask("job mint a")
        slip = self.only("handler", "pause", "mnt", "--reason", "x")
        self.assertIn("there is no job of 'mnt' now", slip.err)
        self.says(USAGE, "say NAME/mint", "handler", "pause", "mint", self.orders, "--reason", "x")
        self.says(USAGE, "say NAME/other/mint", "handler", "pause", "other/mint", self.orders, "--reason", "x")
        self.says(USAGE, "needs --reason", "handler", "resume", "orders/mint", self.orders)
        self.says(USAGE, "needs [NAME/]HANDLER", "handler", "pause", "--reason", "x", self.orders)
        self.says(USAGE, "", "handler", "pause", "orders/", self.orders, "--reason", "x")
        self.says(USAGE, "", "handler", "pause", "orders/a\nb", self.orders, "--reason", "x")
        self.says(USAGE, "", "handler", "pause", "orders/" + "x" * 200, self.orders, "--reason", "x")
        self.assertEqual(self.run_tool("handler", "pause", "mint", "--reason", "x").code, USAGE)
        # A name with slashes: what stands before the first is a database's only where one has it.
        self.only("handler", "pause", "cdtx.msg/sales/mail", "--reason", "x")
        self.cdtx("handler", "pause", "orders/orders/x", self.orders, "--reason", "x")
        names = [row["handler"] for row in self.only_json("handler", "list")["handlers"]]
        self.assertEqual(names, ["cdtx.msg/sales/mail", "mint", "mnt", "orders/x"])


class Redrive(Orders):
    def make_dead(self, count=4):
        self.killed(*(line for i in range(count) for line in (f"job mint key-{i}", "kill")))

    def redrive(self, *words, code=DONE):
        return self.only("job", "redrive", "--handler", "mint", "--reason", "it exists now", *words, code=code)

    def dead(self):
        return [number for number, state in self.states().items() if state == "DEAD"]

    def test_all(self):
        self.make_dead()
        done = json.loads(self.redrive("--yes", "--actor", "ann", "--json").out)
        self.assertEqual(done, {"done": "job redrive", "subject": "orders/mint", "count": 4})
        self.assertEqual(self.dead(), [])
        self.assertEqual(self.audit(), [("ann", "redrive", "handler mint", "4 dead jobs: it exists now")])
        none = self.redrive("--yes", code=NO)
        self.assertEqual((none.out, none.err), ("", "cdtx: no dead job of 'mint' is like that\n"))

    def test_some(self):
        self.make_dead()
        self.sql("orders.db", "UPDATE cdtx_job SET error = 'no metal' WHERE id IN (2, 3)")
        told = self.redrive("--error", "metal", "--most", "1", "--yes")
        self.assertEqual(told.out, "orders/mint: 1 dead jobs have another life\n")
        self.assertEqual(self.dead(), [1, 3, 4])
        self.redrive("--after", "1", "--upto", "3", "--yes")
        self.assertEqual(self.dead(), [1, 4])
        self.redrive("--error", "no such thing", "--yes", code=NO)
        self.redrive("--rate", "1", "--yes")
        due = {row["id"]: row["due_in_ms"] for row in self.only_json("job", "list")["jobs"]}
        self.assertEqual(due[1], 0)
        self.assertTrue(0 < due[4] <= 1000, due)

    def test_partly(self):
        """One that fails after a thousand does not say that nothing was done."""
        self.make_dead(1)
        self.multiply("orders.db", "cdtx_job", "id", "unique_key", 1500)
        self.sql("orders.db", "CREATE TRIGGER no BEFORE INSERT ON cdtx_audit WHEN new.id > 1"
                              " BEGIN SELECT RAISE(ABORT, 'not today'); END")
        answer = self.redrive("--yes", code=UNKNOWN)
        self.assertEqual(answer.out, "")
        self.assertIn("1000 dead jobs had another life before that", answer.err)
        self.sql("orders.db", "DROP TRIGGER no")
        self.assertEqual(json.loads(self.redrive("--yes", "--json").out)["count"], 500)

    def test_several_databases(self):
        self.make_dead(1)
        self.says(USAGE, "say NAME/mint", "job", "redrive", "--handler", "mint", self.orders, "--reason", "x", "--yes")
        self.cdtx("job", "redrive", "--handler", "orders/mint", self.orders, "--reason", "x", "--yes")
        self.assertEqual(self.dead(), [])

    def test_confirmation(self):
        self.make_dead()
        self.assertIn("--yes", self.redrive(code=USAGE).err)
        words = ["job", "redrive", "--handler", "mint", "--upto", "3", "--reason", "x", self.orders]
        for line, code, left in (("n", NO, [1, 2, 3, 4]), ("y", DONE, [4])):
            seen = self.typed(line, *words, code=code).err
            self.assertIn("3 dead jobs of 'mint'\r\nThey get another life. Is that meant? [y/N] ", seen)
            self.assertEqual(self.dead(), left)

    def test_bad_input(self):
        self.make_dead(1)
        for sentence, words in (
            ("--after 'x'", ["--after", "x"]),
            ("--upto '0'", ["--upto", "0"]),
            ("--most '-1'", ["--most=-1"]),
            ("--rate 'fast'", ["--rate", "fast"]),
            ("--rate 9999999999 is too large", ["--rate", "9999999999"]),
            ("--limit is not for", ["--limit", "1"]),
            ("", ["--actor", ""]),
        ):
            with self.subTest(words=words):
                self.assertIn(sentence, self.redrive("--yes", *words, code=USAGE).err)
        self.assertIn("needs --handler", self.only("job", "redrive", "--reason", "x", "--yes", code=USAGE).err)
        self.assertIn("needs --reason", self.only("job", "redrive", "--handler", "mint", code=USAGE).err)
        self.assertEqual(self.dead(), [1])


if __name__ == "__main__":
    main()
