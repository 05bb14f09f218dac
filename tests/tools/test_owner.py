"""Beside those who own the files."""

from lab import Case, main, NOT_NOW, shop, USAGE


class Owners(Case):
    def test_owned_alone(self):
        """Questions are answered beside an owner, who notices nothing; actions say what to do."""
        self.close_warehouse()
        with shop(self.folder) as it:
            gid = it.ask("stuck a")
            self.assertIn(gid, self.cdtx("tx", "list", "--parked").out)
            self.assertEqual(self.cdtx("tx", "list", "--parked").err, "")
            self.assertEqual(self.json("tx", "show", "a", *self.databases)["branches"][1]["guard"], "TRIED")
            self.json("stats", *self.databases)
            self.json("audit", "verify", *self.databases)
            answer = self.cdtx("tx", "unpark", gid, "--reason", "x", code=NOT_NOW)
            self.assertIn(f"owned by process {it.process.pid}", answer.err)
            self.assertIn("nothing was done", answer.err)
            self.assertIn("share=1", answer.err)
            self.cdtx("job", "retry", "orders/1", *self.databases, "--reason", "x", code=NOT_NOW)
            self.cdtx("case", "note", "1", "x", code=NOT_NOW)
            self.close_warehouse(False)
            self.assertEqual(self.json("tx", "show", gid)["transaction"]["state"], "COMMITTING")
            other = it.ask("order b")
            self.assertEqual(it.ask(f"wait {other}"), "4")

    def test_it_never_takes_up_or_decides(self):
        """An undecided one past its deadline and a decided one stay as they are, whatever is asked."""
        self.close_warehouse()
        gid, basket = self.killed("order a", "open b")
        self.sql("log.db", "UPDATE cdtx_tx SET due = 0")
        self.close_warehouse(False)
        before = self.json("tx", "list")["transactions"]
        for words in (["tx", "list"], ["tx", "show", gid], ["stats"], ["audit", "verify"], ["job", "list"]):
            self.cdtx(*words)
        self.cdtx("tx", "park", gid, "--reason", "only this one is touched")
        after = {row["gid"]: row for row in self.json("tx", "list")["transactions"]}
        self.assertEqual([row["gid"] for row in before], [gid, basket])
        self.assertEqual(after[basket], before[1])
        self.assertEqual(after[gid]["attempts"], before[0]["attempts"])
        self.assertEqual(after[gid]["state"], "COMMITTING")

    def test_shared_with_two(self):
        self.close_warehouse()
        with shop(self.folder, "share") as one, shop(self.folder, "share"):
            gid = one.ask("stuck a")
            self.cdtx("case", "note", "1", "beside two others")
            self.assertEqual(self.json("audit", "verify")["chains"][0]["lines"], 2)
            # As it stands in the settings of those two.
            self.log += "?share=1"
            self.assertIn(gid, self.cdtx("tx", "list").out)
            self.cdtx("case", "note", "1", "the same URL")
            self.log = self.log.replace("share", "read")
            self.assertIn(gid, self.cdtx("tx", "list").out)
            self.says(USAGE, "read=1", "case", "note", "1", "only to be read")


if __name__ == "__main__":
    main()
