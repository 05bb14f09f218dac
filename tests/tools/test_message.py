"""Topics, groups, half messages with their cases, and messages that branches hold."""

import json

from lab import Case, DONE, FAILED, main, NO, NOT_NOW, shop, UNKNOWN, USAGE


class Messages(Case):
    def rows(self, noun, name):
        return self.only_json(noun, "list")[name]


class Groups(Messages):
    def make(self, *more):
        self.killed("topic sales", "topic news", "send news unheard", "join sales mail", "join sales books",
                    "send sales one", "send sales two", "kill", *more)

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
        jobs = self.only_json("job", "list", "--handler", mail["handler"])["jobs"]
        self.assertEqual(len(jobs), 2)

    def test_remove(self):
        self.make()
        self.assertIn("--yes", self.only("group", "remove", "sales/mail", "--reason", "x", code=USAGE).err)
        seen = self.typed("n", "group", "remove", "orders/sales/mail", "--reason", "x", *self.databases, code=NO).err
        self.assertRegex(seen, r"group +orders/sales/mail\r\n(.*\r\n)*not consumed +\d\r\n")
        self.assertRegex(seen, r"dead letters +\d\r\n")
        self.assertEqual(len(self.rows("group", "groups")), 2)
        done = self.only_json("group", "remove", "sales/mail", "--reason", "no more", "--actor", "ann", "--yes")
        self.assertEqual(done, {"done": "group remove", "subject": "orders/sales/mail"})
        self.assertEqual([group["group"] for group in self.rows("group", "groups")], ["books"])
        line = self.only_json("audit", "list", "--subject", "group sales/mail")["audit"][0]
        self.assertEqual((line["actor"], line["action"], line["reason"]), ("ann", "remove", "2 deliveries: no more"))
        again = self.only("group", "remove", "sales/mail", "--reason", "x", "--yes", code=NO)
        self.assertIn("no group 'mail'", again.err)
        again = self.typed("y", "group", "remove", "sales/mail", "--reason", "x", self.orders, code=NO)
        self.assertIn("no group 'mail'", again.err)
        self.assertNotIn("[y/N]", again.err)

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
        park = ["checker web", "doubt"] if parked else []
        answers = self.killed("topic sales", "join sales mail", "half sales web", *park, "half sales app")
        return answers[2], answers[-1]

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
        more = self.only_json("half", "list", "--limit", "1")
        self.assertEqual((len(more["halves"]), more["more"]), (1, True))
        rest = self.only_json("half", "list", "--after", first)["halves"]
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
        _, gid = self.killed("checker web", "stuck a")
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
        shown = self.only_json("case", "show", "1")
        self.assertEqual([shown["case"][key] for key in ("database", "kind", "assignee")], ["orders", "half", "bob"])
        self.assertIn("topic 'sales'", shown["case"]["evidence"])
        self.assertEqual([line["reason"] for line in shown["notes"]], ["asked the web shop", "to bob: his shop"])
        self.assertEqual(shown["audit"][0]["action"], "case-open")
        self.assertEqual(len(self.show(first)["notes"]), 2)
        self.assertIn("assigned to bob", self.cdtx("half", "show", first, *self.databases).out)

    def test_commit(self):
        first, second = self.make()
        self.assertIn("--yes", self.only("half", "commit", first, "--reason", "x", code=USAGE).err)
        seen = self.typed("n", "half", "commit", first, "--reason", "x", *self.databases, code=NO).err
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
        seen = self.typed("n", "half", "commit", first, "--reason", "x", *self.databases, code=NO).err
        self.assertNotIn("\x1b[2J", seen)


class Held(Messages):
    def make(self, *keys, resolved=True):
        """Gids of orders whose branch in the stock's database holds a message, and nobody calls it any more."""
        self.close_warehouse()
        gids = self.killed("topic sales", "announce sales", *(f"stuck {key}" for key in keys))[2:]
        if resolved:
            for gid in gids:
                self.cdtx("tx", "resolve", gid, "--reason", "by hand", "--yes")
        return gids

    def hold_twice(self):
        """The orders' database holds the same as the stock's, and one message of each gid more."""
        self.sql("orders.db", f"""
            ATTACH '{self.folder}/stock.db' AS stock;
            INSERT INTO cdtx_msg SELECT * FROM stock.cdtx_msg;
            INSERT INTO cdtx_msg (id, topic, priority, delay_ms, payload, log, seq, branch)
                SELECT id + 10, topic, priority, delay_ms, payload, log, seq, branch FROM stock.cdtx_msg""")

    def held(self, *more):
        return self.json("held", "list", *self.databases, *more)["messages"]

    def settle(self, verb, gid, *more, code=DONE):
        return self.cdtx("held", verb, gid, *self.databases, "--reason", "asked ann", "--yes", *more, code=code)

    def kept(self, file):
        """How many messages are visible."""
        return self.ask(file, "SELECT count(visible) FROM cdtx_msg")[0][0]

    def test_list(self):
        first, second = self.make("a", "b")
        rows = self.held()
        self.assertEqual(list(rows[0]), "database id topic key gid branch payload".split())
        self.assertEqual([row["gid"] for row in rows], [first, second])
        self.assertEqual([rows[0][key] for key in ("database", "topic", "key", "branch", "payload")],
                         ["stock", "sales", None, 1, 8])
        more = self.json("held", "list", *self.databases, "--limit", "1")
        self.assertEqual((len(more["messages"]), more["more"]), (1, True))
        stock = self.databases[1]
        rest = json.loads(self.run_tool("held", "list", stock, "--after", rows[0]["id"], "--json").out)
        self.assertEqual([row["gid"] for row in rest["messages"]], [second])
        self.assertRegex(self.cdtx("held", "list", stock).out, rf"{rows[0]['id']} +sales +- +{first} +1 +8\n")
        self.says(USAGE, "of another database", "held", "list", *self.databases, "--after", rows[0]["id"])
        self.assertEqual(self.run_tool("held", "list", stock, "--after", "x").code, USAGE)
        self.assertEqual(self.run_tool("held", "list").code, USAGE)
        self.assertIn("no messages", self.only("held", "list").err)

    def test_commit(self):
        first, second = self.make("a", "b")
        self.assertIn("cdtx held list", self.cdtx("doctor", *self.databases, code=NO).out)
        self.says(USAGE, "--yes", "held", "commit", first, *self.databases, "--reason", "x")
        words = ["--reason", "x", f"--log={self.log}", *self.databases]
        seen = self.typed("n", "held", "commit", first, *words, code=NO).err
        self.assertRegex(seen, rf"gid +{first}\r\nstate +COMMITTED\r\nheld +1 messages in 'stock'\r\n.* \[y/N\] ")
        self.assertEqual(len(self.held()), 2)
        told = self.settle("commit", first, "--actor", "bob")
        self.assertEqual((told.out, told.err), (f"{first}: 1 messages in 'stock' are visible\n", ""))
        self.assertEqual([row["gid"] for row in self.held()], [second])
        self.assertEqual(self.kept("stock.db"), 1)
        line = self.json("audit", "list", self.databases[1], "--subject", f"tx {first}")["audit"][-1]
        self.assertEqual([line[key] for key in ("actor", "action", "reason")],
                         ["bob", "held-release", "1 messages: asked ann"])
        self.assertIn(f"holds messages of '{first}'", self.settle("commit", first, code=NO).err)
        self.typed("y", "held", "commit", second, *words)
        self.assertEqual(self.held(), [])
        self.assertNotIn("cdtx held list", self.cdtx("doctor", *self.databases, code=NO).out)

    def test_the_log_is_asked(self):
        first, = self.make("a", resolved=False)
        for verb in ("commit", "rollback"):
            self.assertIn("has not ended", self.settle(verb, first, code=NOT_NOW).err)
        self.cdtx("tx", "resolve", first, "--reason", "by hand", "--yes")
        answer = self.settle("rollback", first, code=NOT_NOW)
        self.assertIn("has ended committed", answer.err)
        self.assertEqual((answer.out, len(self.held())), ("", 1))

    def test_without_the_log(self):
        """It is the word of whoever says that it is lost that counts."""
        first, = self.make("a")
        words = ["held", "rollback", first, *self.databases, "--reason", "x", "--yes"]
        told = self.run_tool(*words)
        self.assertEqual((told.code, told.out), (USAGE, ""))
        self.assertIn(f"no log here knows how {first} has ended: give it by --log, or say --without-log", told.err)
        self.assertEqual(len(self.held()), 1)
        told = self.run_tool(*words, "--without-log")
        self.assertEqual((told.code, told.out), (DONE, f"{first}: 1 messages in 'stock' are dropped\n"))
        self.assertIn(f"no log here knows how {first} has ended: nothing checks it", told.err)
        self.assertEqual((self.held(), self.kept("stock.db")), ([], 0))

    def test_a_log_that_has_forgotten_it(self):
        first, second = self.make("a", "b")
        self.sql("log.db", f"DELETE FROM cdtx_tx WHERE seq = {first.split('-')[1]}")
        self.assertIn("--without-log", self.settle("commit", first, code=USAGE).err)
        self.settle("commit", first, "--without-log")
        # One that knows it is not overruled.
        self.assertIn("has ended committed", self.settle("rollback", second, "--without-log", code=NOT_NOW).err)
        self.assertEqual([row["gid"] for row in self.held()], [second])

    def test_of_another_log(self):
        first, = self.make("a")
        other = "0" * 31 + "1"
        self.sql("stock.db", f"UPDATE cdtx_msg SET log = x'{other}'")
        self.assertIn("holds messages of", self.settle("commit", first, code=NO).err)
        gid = self.held()[0]["gid"]
        self.assertTrue(gid.startswith(other))
        self.assertIn("--without-log", self.settle("commit", gid, code=USAGE).err)
        self.assertEqual(self.kept("stock.db"), 0)
        self.settle("commit", gid, "--without-log")
        self.assertEqual(self.kept("stock.db"), 1)

    def test_in_several_databases(self):
        first, second = self.make("a", "b")
        self.hold_twice()
        self.assertEqual(len(self.held()), 6)
        done = json.loads(self.settle("commit", first, "--json").out)
        self.assertEqual(done, {"done": "held commit", "subject": first, "count": 3,
                                "databases": [{"database": "orders", "count": 2}, {"database": "stock", "count": 1}]})
        told = self.run_tool("held", "rollback", second, *self.databases, "--reason", "x", "--yes",
                             "--without-log")
        self.assertEqual(told.out, f"{second}: 2 messages in 'orders' are dropped\n"
                                   f"{second}: 1 messages in 'stock' are dropped\n")
        self.assertEqual((self.kept("orders.db"), self.kept("stock.db")), (2, 1))

    def test_in_the_log(self):
        first, = self.make("a", resolved=False)
        self.sql("log.db", f"""
            ATTACH '{self.folder}/stock.db' AS stock;
            INSERT INTO cdtx_topic SELECT * FROM stock.cdtx_topic;
            INSERT INTO cdtx_msg SELECT * FROM stock.cdtx_msg""")
        self.assertEqual([row["database"] for row in self.held()], ["log", "stock"])
        self.assertIn("has not ended", self.settle("commit", first, code=NOT_NOW).err)
        self.cdtx("tx", "resolve", first, "--reason", "by hand", "--yes")
        told = self.settle("commit", first)
        self.assertEqual(told.out, f"{first}: 1 messages in 'log' are visible\n"
                                   f"{first}: 1 messages in 'stock' are visible\n")

    def test_partly(self):
        """What was done is told, what was not is left for another time."""
        first, second = self.make("a", "b")
        self.hold_twice()
        self.sql("stock.db",
                 "CREATE TRIGGER no BEFORE INSERT ON cdtx_audit BEGIN SELECT RAISE(ABORT, 'not today'); END")
        answer = self.settle("commit", first, code=UNKNOWN)
        self.assertEqual(answer.out, f"{first}: 2 messages in 'orders' are visible\n")
        self.assertIn("in 1 of 2 databases, and stopped at 'stock'", answer.err)
        answer = self.settle("commit", second, "--json", code=UNKNOWN)
        self.assertEqual(json.loads(answer.out)["databases"], [{"database": "orders", "count": 2}])
        answer = self.settle("commit", first, code=FAILED)
        self.assertEqual(answer.out, "")
        self.assertIn("not today", answer.err)
        self.sql("stock.db", "DROP TRIGGER no")
        self.assertEqual(self.settle("commit", first).out, f"{first}: 1 messages in 'stock' are visible\n")
        self.assertEqual([row["gid"] for row in self.held()], [second])

    def test_beside_owners(self):
        """All that is to be changed is open before anything is."""
        first, = self.make("a")
        self.hold_twice()
        with shop(self.folder):
            self.assertEqual(len(self.held()), 3)
            answer = self.settle("commit", first, code=NOT_NOW)
            self.assertIn("nothing was done", answer.err)
        self.assertEqual(len(self.held()), 3)
        with shop(self.folder, "share"):
            self.settle("commit", first)
        self.assertEqual(self.held(), [])

    def test_bad_input(self):
        first, = self.make("a")
        for gid in ("", "x", "0" * 32 + "-1", first + "0", "x" * 500):
            with self.subTest(gid=gid):
                self.assertIn("none of the databases given holds", self.settle("commit", gid, code=NO).err)
        self.says(USAGE, "needs GID", "held", "commit", *self.databases)
        self.says(USAGE, "needs --reason", "held", "rollback", first, *self.databases, "--yes")
        self.says(USAGE, "too much", "held", "commit", first, "x", *self.databases, "--reason", "x", "--yes")
        self.says(USAGE, "--after is not for", "held", "commit", first, "--after", "x", "--reason", "x", "--yes")
        self.says(USAGE, "--without-log is not for", "held", "list", "--without-log")
        self.says(USAGE, "'held' needs to know what", "held")
        self.settle("commit", first, "--actor", "x" * 500, code=USAGE)
        missing = f"--db=x=sqlite:{self.folder}/missing.db"
        for words in (["list"], ["commit", first, "--reason", "x", "--yes"]):
            self.assertEqual(self.run_tool("held", *words, missing).code, FAILED)
        self.assertNotIn("missing.db", self.files())
        self.assertEqual(len(self.held()), 1)

    def test_nothing_steers_the_terminal(self):
        self.make("a")
        self.sql("stock.db", "UPDATE cdtx_msg SET topic = char(27) || '[2J', key = char(27) || '[2J'")
        out = self.cdtx("held", "list", *self.databases).out
        self.assertEqual(out.count("\\x1b[2J"), 2)
        self.assertNotIn("\x1b", out)


if __name__ == "__main__":
    main()
