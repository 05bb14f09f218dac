"""What people and files may get wrong."""

import json
import os

from lab import Case, DONE, FAILED, main, shop, UNKNOWN, USAGE


class BadInput(Case):
    def test_usage(self):
        with shop(self.folder):
            pass
        for sentence, words in (
            ("no command", []),
            ("unknown command 'tix'", ["tix"]),
            ("'tx' needs to know what", ["tx"]),
            ("unknown command 'tx lst'", ["tx", "lst"]),
            ("unknown option '--colour'", ["tx", "list", "--colour"]),
            ("unknown option '-z'", ["tx", "list", "-z"]),
            ("unknown option '-z'", ["-zh", "tx", "list"]),
            ("needs a value", ["tx", "list", "--state"]),
            ("takes no value", ["tx", "list", "--parked=1"]),
            ("unknown state 'stuck'", ["tx", "list", "--state", "stuck"]),
            ("unknown state ''", ["job", "list", "--state", ""]),
            ("unknown state 'ACTIVE'", ["case", "list", "--state", "ACTIVE"]),
            ("--older '5'", ["tx", "list", "--older", "5"]),
            ("--older 'm'", ["tx", "list", "--older", "m"]),
            ("--older '-5m'", ["tx", "list", "--older", "-5m"]),
            ("--older '99999d'", ["tx", "list", "--older", "99999d"]),
            ("--limit '0'", ["tx", "list", "--limit", "0"]),
            ("--limit 'x'", ["tx", "list", "--limit", "x"]),
            ("too large", ["tx", "list", "--limit", "99999999999"]),
            ("--limit is given twice", ["tx", "list", "--limit", "1", "--limit", "2"]),
            ("--parked is not for 'job list'", ["job", "list", "--parked"]),
            ("'half' needs to know what", ["half"]),
            ("unknown command 'group add'", ["group", "add", "a/b"]),
            ("--rate is not for 'job list'", ["job", "list", "--rate", "1"]),
            ("--limit is not for 'topic list'", ["topic", "list", "--limit", "1"]),
            ("--yes is not for 'tx retry'", ["tx", "retry", "a", "--yes", "--reason", "x"]),
            ("'tx retry' needs --reason", ["tx", "retry", "a"]),
            ("'extra' is too much", ["doctor", "extra"]),
            ("'tx show' needs GID|KEY", ["tx", "show"]),
            ("--db 'orders' is not NAME=URL", ["job", "list", "--db", "orders"]),
            ("--db '=sqlite:x' is not NAME=URL", ["job", "list", "--db", "=sqlite:x"]),
            ("two databases are named 'a'", ["job", "list", "--db", "a=./x", "--db", "a=./y"]),
            ("the database named 'log'", ["job", "list", "--db", "log=./x"]),
            ("no completion for 'fish'", ["completion", "fish"]),
            ("unknown command 'tix'", ["help", "tix"]),
            ("unknown command 'tx lst'", ["help", "tx", "lst"]),
            ("--after 'x'", ["audit", "list", "--after", "x"]),
            ("", ["tx", "list", "--after", "x"]),
            ("", ["tx", "list", "--name", ""]),
            ("", ["tx", "show", ""]),
            ("", ["case", "note", "1", ""]),
            ("", ["case", "note", "1", "x", "--actor", "a\nb"]),
            ("", ["tx", "list", "--log", "nowhere"]),
            ("", ["tx", "list", "--log", "nosuch:thing"]),
            ("", ["tx", "list", "--log", "sqlite:"]),
            ("", ["tx", "list", "--log", f"{self.log}?colour=red"]),
        ):
            with self.subTest(words=words):
                code = FAILED if "nowhere" in words or "nosuch:thing" in words else USAGE
                self.says(code, sentence, *words)

    def test_no_log(self):
        answer = self.run_tool("tx", "list")
        self.assertEqual(answer.code, USAGE)
        self.assertIn("CDTX_LOG", answer.err)
        self.assertEqual(self.run_tool("tx", "list", log="").code, USAGE)
        self.assertEqual(self.run_tool("tx", "park", "x", "--reason", "x").code, USAGE)
        self.assertEqual(self.run_tool("doctor").code, USAGE)

    def test_a_missing_file_is_not_made(self):
        self.says(FAILED, "log.db", "tx", "list")
        self.says(FAILED, "log.db", "tx", "unpark", "x", "--reason", "x")
        self.says(FAILED, "log.db", "case", "note", "1", "x")
        self.assertEqual(self.run_tool("job", "retry", "1", "--reason", "x", self.orders).code, FAILED)
        self.assertEqual(self.files(), [])

    def test_not_a_database(self):
        with open(os.path.join(self.folder, "log.db"), "wb") as file:
            file.write(b"this is no database, and nobody may change it" * 100)
        self.says(FAILED, "log.db", "tx", "list")
        self.says(FAILED, "log.db", "tx", "park", "x", "--reason", "x")
        with open(os.path.join(self.folder, "log.db"), "rb") as file:
            self.assertTrue(file.read().startswith(b"this is no database"))

    def test_a_path_will_do(self):
        self.killed("open a")
        os.rename(f"{self.folder}/log.db", f"{self.folder}/log?100%.db")
        os.rename(f"{self.folder}/log.db-wal", f"{self.folder}/log?100%.db-wal")
        answer = self.run_tool("--log", f"{self.folder}/log?100%.db", "tx", "list", "--json")
        self.assertEqual(answer.code, DONE, answer.err)
        self.assertEqual(len(json.loads(answer.out)["transactions"]), 1)

    def test_full_disk_behind_stdout(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            answer = self.run_tool("help", stdout=full)
        self.assertEqual(answer.code, FAILED)
        self.assertIn("standard output", answer.err)
        # What was done is done, though nobody heard of it.
        self.stuck_order()
        with open("/dev/full", "w", encoding="utf-8") as full:
            answer = self.run_tool("case", "note", "1", "x", "--log", self.log, stdout=full)
        self.assertEqual(answer.code, UNKNOWN)
        self.assertIn("it was done, but standard output", answer.err)

    def test_nothing_steers_the_terminal(self):
        self.killed("open a")
        self.sql("log.db", "UPDATE cdtx_tx SET error = 'a' || char(27) || '[2Jb' || char(10) || 'c'")
        for words in (["tx", "list"], ["tx", "show", "a"]):
            out = self.cdtx(*words).out
            self.assertIn("a\\x1b[2Jb\\x0ac", out)
            self.assertNotIn("\x1b", out)
        self.assertEqual(self.json("tx", "list")["transactions"][0]["error"], "a\x1b[2Jb\nc")


if __name__ == "__main__":
    main()
