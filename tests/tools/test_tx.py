"""Transactions: found, shown, parked, resolved; and the story that the README tells."""

import json
import os
import re
import shlex

from lab import Case, DONE, main, NO, NOT_NOW, shop, SOURCE, USAGE


class ThreeCommands(Case):
    def test_story(self):
        """Found, understood, mended, ended: with the shop running all the while."""
        self.close_warehouse()
        with shop(self.folder, "share", "run") as it:
            stuck = it.ask("stuck request-7")
            found = self.cdtx("tx", "list", "--parked").out
            self.assertEqual(found.split("\n")[0].split()[:5], ["GID", "STATE", "NAME", "KEY", "DONE"])
            self.assertIn(stuck, found)
            self.assertIn("COMMITTING, parked", found)
            self.assertIn("the warehouse is closed", found)
            shown = self.cdtx("tx", "show", "request-7", *self.databases).out
            self.assertRegex(shown, r"1 +stock.reserve +no +TRIED +stock +0x000102ff")
            self.assertRegex(shown, r"0 +order.place +yes +CONFIRMED +orders +2 neon-crab")
            self.assertIn("Case log/1, opened", shown)
            self.close_warehouse(False)
            done = self.cdtx("tx", "unpark", "request-7", "--reason", "open again", "--actor", "ann")
            self.assertIn(f"{stuck}: is no longer parked", done.out)
            self.until(lambda: self.json("tx", "list")["transactions"] == [])
            self.assertEqual(self.json("tx", "show", stuck)["transaction"]["state"], "COMMITTED")
        self.assertEqual(self.json("case", "list")["cases"], [])
        lines = self.json("audit", "list")["audit"]
        self.assertEqual([(line["actor"], line["action"]) for line in lines][0], ("cdtx", "case-open"))
        mine = [line for line in lines if line["actor"] == "ann" and line["action"] == "unpark"]
        self.assertEqual(len(mine), 1)
        self.assertEqual(mine[0]["reason"], "open again")
        self.assertEqual(mine[0]["subject"], f"tx {stuck}")

    def test_readme_shows_it(self):
        """What the README prints is what the commands print, but for the gid, the times and the room they leave."""

        def bare(text):
            text = re.sub(r"\b[0-9a-f]{32}-\d+", "GID", text)
            text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", text)
            text = re.sub(r"\b(\d+s ago|now)\b(?! parked)", "AGO", text)
            text = re.sub(r"\bin \d+m\b", "SOON", text)
            text = re.sub(r"LAST ERR\w*…?|stock\.re\w*…", "CUT", text)
            return [line for line in re.sub(r" +", " ", text).split("\n") if line]

        with open(os.path.join(SOURCE, "README.md"), encoding="utf-8") as page:
            section = page.read().split("## A stuck order in three commands")[1].split("\n## ")[0]
        told = [bare(block) for block in re.findall(r"```\n(.*?)```", section, re.S)]
        self.stuck_order()
        commands = [line[2:] for lines in told for line in lines if line.startswith("$ cdtx ")]
        self.assertEqual([shlex.split(command)[:3] for command in commands], [
            ["cdtx", "tx", "list"], ["cdtx", "tx", "show"], ["cdtx", "tx", "unpark"]])
        for command, lines in zip(commands, told):
            words = shlex.split(command.replace("/var/lib/shop", self.folder))[1:]
            seen = self.on_terminal(112, *words)
            self.assertEqual([line for line in lines if not line.startswith("$")], bare(seen))

    def test_retry_takes_it_up_at_once(self):
        stuck = self.stuck_order()
        self.close_warehouse(False)
        before = self.json("tx", "show", stuck)["transaction"]
        self.assertGreater(before["due_in_ms"], 60000)
        self.cdtx("tx", "retry", stuck, "--reason", "open again")
        after = self.json("tx", "show", stuck)["transaction"]
        self.assertEqual(after["due_in_ms"], 0)
        self.assertGreater(after["epoch"], before["epoch"])
        with shop(self.folder) as it:
            self.assertEqual(it.ask(f"wait {stuck}"), "4")


class Transactions(Case):
    def test_list(self):
        self.close_warehouse()
        first, second, _, basket = self.killed("stuck a", "order b", "refused c", "open d")
        every = self.json("tx", "list")
        self.assertFalse(every["more"])
        self.assertEqual([row["gid"] for row in every["transactions"]], [first, second, basket])
        self.assertEqual([row["state"] for row in every["transactions"]], ["COMMITTING", "COMMITTING", "ACTIVE"])
        self.assertEqual(
            sorted(every["transactions"][0]),
            sorted("gid state parked name key branches answered attempts began_ms due_in_ms error".split()),
        )
        self.assertIsInstance(every["transactions"][0]["began_ms"], int)
        self.assertIsNone(every["transactions"][1]["parked"])

        def gids(*words):
            return [row["gid"] for row in self.json("tx", "list", *words)["transactions"]]

        self.assertEqual(gids("--parked"), [first])
        self.assertEqual(gids("--state", "active"), [basket])
        self.assertEqual(gids("--state", "COMMITTING"), [first, second])
        self.assertEqual(len(gids("--state", "rolled-back")), 1)
        self.assertEqual(gids("--name", "basket"), [basket])
        self.assertEqual(gids("--older", "1h"), [])
        self.assertEqual(gids("--after", first), [second, basket])
        self.assertEqual(gids("--limit", "1"), [first])
        self.assertTrue(self.json("tx", "list", "--limit", "1")["more"])
        self.assertFalse(self.json("tx", "list", "--limit", "3")["more"])
        self.assertIn("there are more", self.cdtx("tx", "list", "--limit", "2").err)
        empty = self.cdtx("tx", "list", "--name", "nothing")
        self.assertEqual(empty.out, "")
        self.assertIn("no transactions", empty.err)

    def test_list_aligns(self):
        keys = ["a", "漢字漢字", "üü"]
        self.killed(*(f"open {key}" for key in keys))
        lines = self.cdtx("tx", "list").out.rstrip("\n").split("\n")
        self.assertEqual(len(lines), 4)
        for line in lines:
            self.assertEqual(line, line.rstrip())
        wide = {"漢": 2, "字": 2}

        def columns(text):
            return sum(wide.get(character, 1) for character in text)

        where = [columns(line[: line.index("basket")]) for line in lines[1:]]
        self.assertEqual(len(set(where)), 1)
        where = [columns(line[: line.rindex("0/0") + 3]) for line in lines[1:]]
        self.assertEqual(len(set(where)), 1)
        self.assertEqual(columns(lines[0][: lines[0].index("DONE") + 4]), where[0])

    def test_show(self):
        stuck = self.stuck_order()
        for word in (stuck, "request-7"):
            shown = self.json("tx", "show", word, *self.databases)
            self.assertEqual(shown["transaction"]["gid"], stuck)
            self.assertEqual(shown["transaction"]["noes"], 3)
            branches = shown["branches"]
            self.assertEqual([b["participant"] for b in branches], ["order.place", "stock.reserve"])
            self.assertEqual([b["guard"] for b in branches], ["CONFIRMED", "TRIED"])
            self.assertEqual([b["database"] for b in branches], ["orders", "stock"])
            self.assertEqual([b["payload"] for b in branches], ["2 neon-crab", {"hex": "000102ff"}])
            self.assertEqual(shown["case"]["subject"], stuck)
            self.assertEqual(shown["case"]["state"], "OPEN")
            self.assertEqual(shown["notes"], [])
            self.assertEqual(shown["audit"][0]["action"], "case-open")
        self.assertIsNone(self.json("tx", "show", stuck)["branches"][1]["guard"])
        self.says(NO, "no transaction has the gid or the key 'request-8'", "tx", "show", "request-8")
        uuid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
        self.says(NO, f"no transaction has the gid or the key '{uuid}'", "tx", "show", uuid)
        self.says(NO, "no transaction has the gid or the key", "tx", "retry", "k" * 100, "--reason", "x")
        never = re.sub(r"\d+$", "999", stuck)
        self.says(NO, "999", "tx", "show", never)
        self.says(USAGE, "another log", "tx", "show", "0" * 32 + "-1")
        self.says(USAGE, "GID|KEY", "tx", "show")
        self.says(USAGE, "'b' is too much", "tx", "show", "a", "b")

    def test_ended_one(self):
        with shop(self.folder) as it:
            gid = it.ask("order a")
            it.ask(f"wait {gid}")
        shown = self.json("tx", "show", "a")
        self.assertEqual(shown["transaction"]["state"], "COMMITTED")
        self.assertIsNone(shown["transaction"]["due_in_ms"])
        self.assertNotIn("case", shown)
        for action in ("retry", "park", "unpark"):
            self.says(NOT_NOW, gid.rsplit("-", 1)[1], "tx", action, gid, "--reason", "x")
        self.says(NOT_NOW, "", "tx", "resolve", gid, "--reason", "x", "--yes")

    def test_park_and_resolve(self):
        self.close_warehouse()
        gid, basket = self.killed("order a", "open b")
        self.says(NOT_NOW, "", "tx", "park", basket, "--reason", "x")
        self.says(NOT_NOW, "", "tx", "resolve", gid, "--reason", "not parked yet", "--yes")
        self.assertEqual(self.cdtx("tx", "park", "a", "--reason", "wait for the warehouse").out.split(":")[0], gid)
        self.assertEqual(self.json("tx", "show", gid)["case"]["state"], "OPEN")
        self.says(USAGE, "--yes", "tx", "resolve", gid, "--reason", "shipped by hand")
        self.assertEqual(self.json("tx", "show", gid)["transaction"]["state"], "COMMITTING")
        done = self.json("tx", "resolve", gid, "--reason", "shipped by hand", "--actor", "bob", "--yes")
        self.assertEqual(done, {"done": "tx resolve", "subject": gid})
        shown = self.json("tx", "show", gid)
        self.assertEqual(shown["transaction"]["state"], "COMMITTED")
        self.assertIsNone(shown["transaction"]["parked"])
        self.assertIn(("bob", "resolve", "shipped by hand"), [
            (line["actor"], line["action"], line["reason"]) for line in shown["audit"]
        ])

    def test_confirmation_on_a_terminal(self):
        gid = self.stuck_order()
        words = ["--log", self.log, "tx", "resolve", gid, "--reason", "by hand"]
        for line, code, state in (("n", NO, "COMMITTING"), ("", NO, "COMMITTING"), ("y", DONE, "COMMITTED")):
            answer = self.typed(line, *words, code=code)
            self.assertIn("[y/N]", answer.err)
            self.assertIn("the warehouse is closed", answer.err)
            self.assertEqual(answer.out, f"{gid}: is ended\n" if code == DONE else "")
            self.assertEqual(self.json("tx", "show", gid)["transaction"]["state"], state)

    def test_a_terminal_gets_short_rows(self):
        gid = self.stuck_order("a-key-that-goes-on-and-on" * 4)
        lines = self.on_terminal(110, "tx", "list").rstrip("\n").split("\n")
        self.assertEqual(len(lines), 2)
        self.assertTrue(all(len(line) <= 110 for line in lines), lines)
        self.assertIn("…", lines[1])
        # What is copied, and what is short anyway, stays whole.
        self.assertTrue(lines[1].startswith(f"{gid}  COMMITTING, parked  order  "), lines)


class LongLists(Case):
    ROWS = 5000  # several pages

    def setUp(self):
        super().setUp()
        self.killed("open a")
        self.multiply("log.db", "cdtx_tx", "seq", "key", self.ROWS)
        self.sql("log.db", f"UPDATE cdtx_meta SET seq = {self.ROWS}")

    def test_all_pages_come(self):
        rows = self.json("tx", "list", "--limit", "100000")
        self.assertFalse(rows["more"])
        self.assertEqual([int(row["gid"].split("-")[1]) for row in rows["transactions"]], list(range(1, self.ROWS + 1)))
        rows = self.json("tx", "list", "--limit", "4000")
        self.assertTrue(rows["more"])
        self.assertEqual(len(rows["transactions"]), 4000)
        answer = self.cdtx("tx", "list", "--limit", "100000")
        self.assertEqual((answer.out.count("\n"), answer.err), (self.ROWS + 1, ""))

    def test_progress_on_a_terminal(self):
        out, seen = self.watched("tx", "list", "--limit", "100000", "--json")
        self.assertEqual(len(json.loads(out)["transactions"]), self.ROWS)
        self.assertRegex(seen, rf"2000 of {self.ROWS} transactions, 40%, about \d+ s left")
        self.assertTrue(seen.endswith("\r\x1b[K"), seen)
        out, seen = self.watched("stats", "--json")
        self.assertEqual(json.loads(out)["transactions"]["open"], self.ROWS)
        self.assertIn(f"4000 of {self.ROWS} transactions, 80%", seen)


if __name__ == "__main__":
    main()
