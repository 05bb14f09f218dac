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
        self.assertRegex(table, r"orders/1 +mint +default +DEAD +0 +1 +0 +- +no such collectible")
        dead = json.loads(self.jobs("job", "list", "--state", "dead", "--json").out)["jobs"]
        self.assertEqual([row["id"] for row in dead], [1])
        later = json.loads(self.jobs("job", "list", "--handler", "later", "--json").out)["jobs"]
        self.assertEqual([row["id"] for row in later], [4])
        both = json.loads(self.cdtx("job", "list", *self.databases, "--json", "--limit", "2").out)
        self.assertEqual([row["id"] for row in both["jobs"]], [1, 2])
        self.assertTrue(both["more"])

    def test_show(self):
        self.make()
        shown = json.loads(self.jobs("job", "show", "1", "--json").out)
        self.assertEqual(shown["job"]["payload"], "mint neon-crab")
        self.assertEqual(shown["audit"], [])
        text = self.jobs("job", "show", "orders/1").out
        self.assertRegex(text, r"^job +orders/1\n(.*\n)*payload +mint neon-crab \(14 bytes\)\n$")
        self.says(USAGE, "say NAME/1", "job", "show", "1", self.orders)
        self.assertEqual(self.json("job", "show", "orders/1", self.orders)["job"]["id"], 1)
        self.says(NO, "no job 99", "job", "show", "orders/99", self.orders)
        self.says(USAGE, "no database is named 'other'", "job", "show", "other/1", self.orders)
        for bad in ("x", "0", "-1", "1x", "orders/", "orders/ 1", "99999999999999999999"):
            self.says(USAGE, "is not a number above 0", "job", "show", self.orders, "--", f"orders/{bad}")
        self.assertEqual(self.run_tool("job", "show", "log/1", self.orders).code, USAGE)
        self.assertEqual(self.run_tool("job", "list").code, USAGE)

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
