"""What every test of the command line needs. Each runs as: test_X.py CDTX SHOP SOURCE [NAMES]: the built tool, the
program that owns the log, and the folder of the sources."""

import collections
import contextlib
import fcntl
import json
import os
import pty
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

CDTX, SHOP, SOURCE = (os.path.abspath(path) for path in sys.argv[1:4])
DONE, NO, USAGE, NOT_NOW, FAILED, UNKNOWN = range(6)
ZEROES = "0" * 64

Answer = collections.namedtuple("Answer", "code out err")


def terminal():
    """Both sides of one; where the machine has none to give, what needs one is skipped, and not counted as passed."""
    try:
        return pty.openpty()
    except OSError as error:
        raise unittest.SkipTest(f"no terminal to be had: {error}") from error


class Shop:
    """The program that owns the log: see shop.c."""

    def __init__(self, folder, *arguments):
        self.process = subprocess.Popen(
            [SHOP, folder, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.answer()

    def answer(self):
        word, _, rest = self.process.stdout.readline().rstrip("\n").partition(" ")
        if word != "ok":
            raise AssertionError(f"the shop says: {word} {rest}")
        return rest

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.close()


@contextlib.contextmanager
def shop(folder, *arguments):
    it = Shop(folder, *arguments)
    try:
        yield it
    finally:
        if it.process.poll() is None:
            it.close()


def read_all(terminal):
    """What was written to it until its other side is closed, which Linux tells as an error."""
    seen = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 65536):
            seen += chunk
    os.close(terminal)
    return seen.decode()


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.log = f"sqlite:{self.folder}/log.db"
        self.databases = [f"--db={name}=sqlite:{self.folder}/{name}.db" for name in ("orders", "stock")]
        self.orders = self.databases[0]

    def run_tool(self, *words, log=None, environment=None, stdout=subprocess.PIPE):
        variables = {key: value for key, value in os.environ.items() if key != "CDTX_LOG"}
        if log is not None:
            variables["CDTX_LOG"] = log
        done = subprocess.run(
            [CDTX, *words],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            env={**variables, **(environment or {})},
            timeout=60,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def cdtx(self, *words, code=DONE):
        """With the log of this test; the code must be that one."""
        answer = self.run_tool(*words, log=self.log)
        self.assertEqual(answer.code, code, f"{words}: {answer.out}{answer.err}")
        return answer

    def says(self, code, sentence, *words):
        """It fails with that code, that sentence on stderr, and nothing on stdout."""
        answer = self.cdtx(*words, code=code)
        self.assertIn(sentence, answer.err)
        self.assertTrue(answer.err.startswith("cdtx: "), answer.err)
        self.assertEqual(answer.out, "")

    def json(self, *words, code=DONE):
        return json.loads(self.cdtx(*words, "--json", code=code).out)

    def only(self, *words, code=DONE):
        """With the orders' database and no log."""
        answer = self.run_tool(*words, self.orders)
        self.assertEqual(answer.code, code, f"{words}: {answer.out}{answer.err}")
        return answer

    def only_json(self, *words, code=DONE):
        return json.loads(self.only(*words, "--json", code=code).out)

    def typed(self, line, *words, code=DONE):
        """Somebody types the line on a terminal; err is what is seen there."""
        ours, theirs = terminal()
        os.write(ours, f"{line}\n".encode())
        process = subprocess.Popen([CDTX, *words], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, text=True)
        out = process.communicate(timeout=60)[0]
        os.close(theirs)
        seen = read_all(ours)
        self.assertEqual(process.returncode, code, f"{words}: {out}{seen}")
        return Answer(process.returncode, out, seen)

    def until(self, condition):
        for _ in range(600):
            if condition():
                return
            time.sleep(0.05)
        self.fail("it did not come")

    def on_terminal(self, width, *words):
        """What it prints on a terminal of that width."""
        ours, theirs = terminal()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, width, 0, 0))
        process = subprocess.Popen([CDTX, "--log", self.log, *words], stdout=theirs, stderr=subprocess.PIPE)
        os.close(theirs)
        seen = read_all(ours)
        error = process.communicate(timeout=60)[1]
        self.assertEqual(process.returncode, DONE, error)
        return seen.replace("\r\n", "\n")

    def watched(self, *words):
        """Its standard output, and what a terminal got as standard error."""
        ours, theirs = terminal()
        process = subprocess.Popen([CDTX, "--log", self.log, *words], stdout=subprocess.PIPE, stderr=theirs, text=True)
        os.close(theirs)
        out = process.communicate(timeout=120)[0]
        seen = read_all(ours)
        self.assertEqual(process.returncode, DONE, seen)
        return out, seen

    def killed(self, *lines):
        """What a shop answers to these, before it is killed."""
        with shop(self.folder) as it:
            answers = [it.ask(line) for line in lines]
            it.kill()
        return answers

    def close_warehouse(self, closed=True):
        path = os.path.join(self.folder, "closed")
        if closed:
            open(path, "w", encoding="utf-8").close()
        else:
            os.unlink(path)

    def stuck_order(self, key="request-7"):
        """An order that was decided and then parked."""
        self.close_warehouse()
        with shop(self.folder) as it:
            return it.ask(f"stuck {key}")

    def sql(self, file, statements):
        with contextlib.closing(sqlite3.connect(os.path.join(self.folder, file))) as connection, connection:
            return connection.executescript(statements)

    def multiply(self, file, table, key, unique, rows):
        """So many copies of the row 1 by that key, itself included, all but it without what must be unique."""
        columns = [row[0] for row in self.ask(file, f"SELECT name FROM pragma_table_info('{table}')")]
        names = ", ".join(column for column in columns if column not in (key, unique))
        self.sql(file, f"""
            WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
            INSERT INTO {table} ({key}, {names}) SELECT i, {names} FROM n, {table} WHERE {key} = 1""")

    def ask(self, file, query):
        with contextlib.closing(sqlite3.connect(os.path.join(self.folder, file))) as connection:
            return connection.execute(query).fetchall()

    def files(self):
        return sorted(os.listdir(self.folder))


def main():
    result = unittest.main(module="__main__", argv=[sys.argv[0], *sys.argv[4:]], exit=False).result
    bad = len(result.failures) + len(result.errors)
    run = result.testsRun - len(result.skipped)
    for test, reason in result.skipped:
        print(f"skipped {test}: {reason}")
    print(f"{100 * (run - bad) // max(run, 1)}%: Checks: {run}, "
          f"Failures: {len(result.failures)}, Errors: {len(result.errors)}")
    sys.exit(0 if result.wasSuccessful() and run > 0 else 1)
