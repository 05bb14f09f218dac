"""Topics, groups, and half messages with their cases."""

import json
import os
import subprocess

from lab import Case, CDTX, DONE, FAILED, main, NO, NOT_NOW, read_all, shop, terminal, USAGE


class Messages(Case):
    def setUp(self):
        super().setUp()
        self.orders = self.databases[0]

    def only(self, *words, code=DONE):
        """With the orders' database and no log."""
        answer = self.run_tool(*words, self.orders)
        self.assertEqual(answer.code, code, f"{words}: {answer.out}{answer.err}")
        return answer

    def rows(self, noun, name):
        return json.loads(self.only(noun, "list", "--json").out)[name]

    def typed(self, answer, *words):
        """The exit code, and what was seen on a terminal on which that was typed."""
        ours, theirs = terminal()
        os.write(ours, f"{answer}\n".encode())
        process = subprocess.Popen([CDTX, *words, *self.databases], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs)
        process.communicate(timeout=60)
        os.close(theirs)
        return process.returncode, read_all(ours)


class Groups(Messages):
    def make(self, *more):
        with shop(self.folder) as it:
            for line in ("topic sales", "topic news", "send news unheard", "join sales mail", "join sales books",
                         "send sales one", "send sales two", "kill", *more):
                it.ask(line)
            it.kill()

    def test_topics(self):
        self.make("half sales web")
        news, sales = self.rows("topic", "topics")
        self.assertEqual(list(sales), "database topic retention_ms groups kept held halves".split())
        self.assertEqual(list(news.values()), ["orders", "news", 0, 0, 1, 0, 0])
        self.assertEqual(list(sales.values()), ["orders", "sales", 0, 2, 0, 0, 1])
        self.assertRegex(self.only("topic", "list").out, r"orders/sales +0ms +2 +0 +0 +1\n")
        self.assertIn("no topics", self.cdtx("topic", "list").err)

    def test_groups(self):
        self.make()
        books, mail = self.rows("group", "groups")
        self.assertEqual(
            list(mail), "database topic group here in_order paused_ms lag leased dead oldest_ms handler".split()
        )
        self.assertEqual((mail["handler"], mail["in_order"]), ("cdtx.msg/sales/mail", 1))
        self.assertEqual(sorted((group["lag"], group["dead"]) for group in (books, mail)), [(1, 1), (2, 0)])
        table = self.only("group", "list").out
        self.assertRegex(table, r"orders/sales/books +yes +- +\d +\d +\d +(now|\d+s ago)\n")
        self.assertRegex(table, r"orders/sales/mail +yes +- +\d +\d +\d +")
        self.only("handler", "pause", mail["handler"], "--reason", "no paper")
        self.assertIsInstance(self.rows("group", "groups")[1]["paused_ms"], int)
        # A delivery is a job.
        jobs = json.loads(self.only("job", "list", "--handler", mail["handler"], "--json").out)["jobs"]
        self.assertEqual(len(jobs), 2)

    def test_remove(self):
        self.make()
        self.assertIn("--yes", self.only("group", "remove", "sales/mail", "--reason", "x", code=USAGE).err)
        code, seen = self.typed("n", "group", "remove", "orders/sales/mail", "--reason", "x")
        self.assertEqual(code, NO)
        self.assertRegex(seen, r"group +orders/sales/mail\r\n(.*\r\n)*not consumed +\d\r\n")
        self.assertRegex(seen, r"dead letters +\d\r\n")
        self.assertEqual(len(self.rows("group", "groups")), 2)
        done = json.loads(self.only("group", "remove", "sales/mail", "--reason", "no more", "--actor", "ann", "--yes",
                                    "--json").out)
        self.assertEqual(done, {"done": "group remove", "subject": "orders/sales/mail"})
        self.assertEqual([group["group"] for group in self.rows("group", "groups")], ["books"])
        line = json.loads(self.only("audit", "list", "--subject", "group sales/mail", "--json").out)["audit"][0]
        self.assertEqual((line["actor"], line["action"], line["reason"]), ("ann", "remove", "2 deliveries: no more"))
        again = self.only("group", "remove", "sales/mail", "--reason", "x", "--yes", code=NO)
        self.assertIn("no group 'mail'", again.err)

    def test_remove_refuses(self):
        self.make("take")
        leased = next(group["group"] for group in self.rows("group", "groups") if group["leased"] == 1)
        answer = self.only("group", "remove", f"sales/{leased}", "--reason", "x", "--yes", code=NOT_NOW)
        self.assertIn("under way", answer.err)
        for word in ("sales", "a/b/c/d", "/mail", "sales/", "x" * 200 + "/y", "orders/" + "x" * 200 + "/y", ""):
            with self.subTest(word=word):
                self.assertEqual(self.only("group", "remove", word, "--reason", "x", "--yes", code=USAGE).out, "")
        why = ["--reason", "x", "--yes"]
        self.says(USAGE, "say NAME/sales/mail", "group", "remove", "sales/mail", *self.databases, *why)
        self.assertEqual(len(self.rows("group", "groups")), 2)


class Halves(Messages):
    def make(self, parked=True):
        """Handles of two halves; nobody can tell what became of the first."""
        with shop(self.folder) as it:
            it.ask("topic sales")
            it.ask("join sales mail")
            first = it.ask("half sales web")
            if parked:
                it.ask("checker web")
                it.ask("run 200")
            second = it.ask("half sales app")
            it.kill()
        return first, second

    def show(self, handle):
        return self.json("half", "show", handle, *self.databases)

    def test_list(self):
        first, second = self.make()
        rows = self.rows("half", "halves")
        self.assertEqual(list(rows[0]), "database handle topic producer checks parked age_ms payload".split())
        self.assertEqual([row["handle"] for row in rows], [first, second])
        self.assertEqual([row["producer"] for row in rows], ["web", "app"])
        self.assertEqual((rows[0]["checks"], rows[0]["parked"]), (1, "1 checks without an answer"))
        self.assertIsNone(rows[1]["parked"])
        more = json.loads(self.only("half", "list", "--limit", "1", "--json").out)
        self.assertEqual((len(more["halves"]), more["more"]), (1, True))
        rest = json.loads(self.only("half", "list", "--after", first, "--json").out)["halves"]
        self.assertEqual([row["handle"] for row in rest], [second])
        self.assertRegex(self.only("half", "list").out, rf"{first} +sales +web +1 +(now|\d+s ago) +4 +1 checks without")
        self.only("half", "list", "--after", "x", code=USAGE)
        self.assertIn("no halves", self.cdtx("half", "list").err)

    def test_show(self):
        first, second = self.make()
        shown = self.show(first)
        self.assertEqual(
            list(shown["half"]), "database handle state topic producer checks parked age_ms payload".split()
        )
        self.assertEqual([shown["half"][key] for key in ("database", "state", "producer")], ["orders", "OPEN", "web"])
        self.assertEqual((shown["case"]["kind"], shown["case"]["subject"]), ("half", first))
        self.assertEqual([line["action"] for line in shown["audit"]], ["case-open"])
        text = self.cdtx("half", "show", first, *self.databases).out
        self.assertRegex(text, rf"^half +{first}\nin +orders\nstate +OPEN\ntopic +sales\nproducer +web\nchecks +1\n")
        self.assertRegex(text, r"\nCase orders/1, opened .*, assigned to nobody: 1 checks without an answer\n")
        self.assertNotIn("case", self.show(second))

    def test_case(self):
        first, _ = self.make()
        self.close_warehouse()
        with shop(self.folder) as it:
            it.ask("checker web")
            gid = it.ask("order a")
            it.ask(f"parked {gid}")
            it.kill()
        rows = self.json("case", "list", *self.databases)["cases"]
        self.assertEqual([(row["database"], row["id"], row["kind"], row["subject"]) for row in rows],
                         [("log", 1, "tx", gid), ("orders", 1, "half", first)])
        self.assertRegex(self.cdtx("case", "list", *self.databases).out,
                         rf"log/1 +OPEN +tx +{gid} .*\norders/1 +OPEN +half +{first} ")
        self.says(USAGE, "say NAME/1", "case", "show", "1", *self.databases)
        self.says(NO, "no case 2", "case", "show", "orders/2", *self.databases)
        self.says(USAGE, "no database is named 'other'", "case", "note", "other/1", "x", *self.databases)
        self.cdtx("case", "note", "orders/1", "asked the web shop", *self.databases, "--actor", "ann")
        done = self.json("case", "assign", "orders/1", "bob", *self.databases, "--reason", "his shop")
        self.assertEqual(done, {"done": "case assign", "subject": "orders/1"})
        shown = json.loads(self.only("case", "show", "1", "--json").out)
        self.assertEqual([shown["case"][key] for key in ("database", "kind", "assignee")], ["orders", "half", "bob"])
        self.assertIn("topic 'sales'", shown["case"]["evidence"])
        self.assertEqual([line["reason"] for line in shown["notes"]], ["asked the web shop", "to bob: his shop"])
        self.assertEqual(shown["audit"][0]["action"], "case-open")
        self.assertEqual(len(self.show(first)["notes"]), 2)
        self.assertIn("assigned to bob", self.cdtx("half", "show", first, *self.databases).out)

    def test_commit(self):
        first, second = self.make()
        self.assertIn("--yes", self.only("half", "commit", first, "--reason", "x", code=USAGE).err)
        code, seen = self.typed("n", "half", "commit", first, "--reason", "x")
        self.assertEqual(code, NO)
        self.assertIn(first, seen)
        self.assertIn("Is its local transaction committed? [y/N]", seen)
        self.assertEqual(self.show(first)["half"]["state"], "OPEN")
        done = self.json("half", "commit", first, *self.databases, "--reason", "it was paid", "--actor", "ann", "--yes")
        self.assertEqual(done, {"done": "half commit", "subject": first})
        shown = self.show(first)
        self.assertEqual((shown["half"]["state"], shown["half"]["topic"]), ("COMMITTED", None))
        self.assertNotIn("case", shown)
        self.assertEqual([(line["actor"], line["action"]) for line in shown["audit"]],
                         [("cdtx", "case-open"), ("ann", "case-close"), ("ann", "half-commit")])
        self.assertRegex(self.cdtx("half", "show", first, *self.databases).out,
                         rf"^half +{first}\nin +orders\nstate +COMMITTED\n\nAudit\n")
        self.assertEqual(self.rows("group", "groups")[0]["lag"], 1)
        self.assertEqual(self.json("case", "list", *self.databases)["cases"], [])
        self.only("half", "commit", first, "--reason", "again", "--yes")
        late = self.only("half", "rollback", first, "--reason", "x", "--yes", code=NOT_NOW)
        self.assertIn("committed already", late.err)
        told = self.only("half", "rollback", second, "--reason", "it crashed", "--yes")
        self.assertEqual(told.out, f"{second}: is rolled back, and its message will never be visible\n")
        self.assertEqual(self.show(second)["half"]["state"], "ROLLED_BACK")
        self.assertEqual(self.rows("group", "groups")[0]["lag"], 1)
        self.assertEqual(self.rows("half", "halves"), [])
        self.sql("orders.db", "DELETE FROM cdtx_half")
        self.assertIn("no longer kept", self.only("half", "show", first, code=NO).err)

    def test_bad_input(self):
        first, _ = self.make(parked=False)
        uuid = first.rsplit("-", 1)[0]
        self.says(NO, "never prepared", "half", "show", f"{uuid}-999", self.orders)
        self.says(USAGE, "none of the databases", "half", "show", "0" * 32 + "-1", *self.databases)
        self.says(USAGE, "none of the databases", "half", "commit", "x", *self.databases, "--reason", "x", "--yes")
        self.assertIn("no handle", self.only("half", "show", "x", code=USAGE).err)
        self.assertIn("needs HANDLE", self.only("half", "show", code=USAGE).err)
        self.assertIn("needs --reason", self.only("half", "commit", first, code=USAGE).err)
        self.assertEqual(self.run_tool("half", "list").code, USAGE)
        self.assertEqual(self.show(first)["half"]["state"], "OPEN")

    def test_beside_an_owner(self):
        """Looking leaves no trace, and what the owner has alone is left to it."""
        with shop(self.folder) as it:
            it.ask("topic sales")
            handle = it.ask("half sales web")
            self.assertEqual(self.show(handle)["half"]["state"], "OPEN")
            for noun in ("topic", "group", "half", "cron", "handler"):
                self.only(noun, "list")
            answer = self.only("half", "commit", handle, "--reason", "x", "--yes", code=NOT_NOW)
            self.assertIn("nothing was done", answer.err)
            for words in (["group", "remove", "sales/mail", "--yes"], ["job", "redrive", "--handler", "mint", "--yes"]):
                self.only(*words, "--reason", "x", code=NOT_NOW)
            it.ask("topic sales")
        missing = f"--db=x=sqlite:{self.folder}/missing.db"
        before = self.files()
        for words in (["half", "list"], ["topic", "list"], ["handler", "pause", "x", "--reason", "x"],
                      ["group", "remove", "a/b", "--reason", "x", "--yes"]):
            self.assertEqual(self.run_tool(*words, missing).code, FAILED, words)
        self.assertEqual(self.files(), before)

    def test_nothing_steers_the_terminal(self):
        first, _ = self.make()
        self.only("handler", "pause", "cdtx.msg/sales/mail", "--reason", "x")
        evil = "char(27) || '[2J'"
        self.sql("orders.db", f"UPDATE cdtx_half SET parked = {evil}, producer = {evil}, topic = {evil};"
                              f"UPDATE cdtx_topic SET name = {evil}; UPDATE cdtx_group SET topic = {evil};"
                              f"UPDATE cdtx_pause SET handler = {evil}; UPDATE cdtx_case SET reason = {evil}")
        for words in (["half", "list"], ["half", "show", first], ["topic", "list"], ["group", "list"],
                      ["handler", "list"], ["case", "list"]):
            out = self.only(*words).out
            self.assertIn("\\x1b[2J", out)
            self.assertNotIn("\x1b", out)
        self.assertNotIn("\x1b", self.only("doctor", code=NO).out)
        self.assertEqual(self.rows("half", "halves")[0]["parked"], "\x1b[2J")
        _, seen = self.typed("n", "half", "commit", first, "--reason", "x")
        self.assertNotIn("\x1b[2J", seen)


if __name__ == "__main__":
    main()
