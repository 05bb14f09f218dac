"""Help, manual and completion have every command."""

import os
import re
import subprocess

from lab import Case, DONE, main, SOURCE


class Words(Case):
    def commands(self):
        text = self.run_tool("help").out
        nouns = "tx|job|handler|cron|topic|group|half|held|case|audit"
        return re.findall(rf"^  ((?:{nouns}) \w+|\w+)(?= )", text.split("Options of every")[0], re.M)

    def options(self):
        every = set()
        for command in self.commands():
            every.update(re.findall(r"^  (--\w+)", self.run_tool("help", *command.split()).out, re.M))
        return sorted(every)

    def test_help(self):
        self.assertEqual(len(self.commands()), 36)
        for command in self.commands():
            for words in (["help", *command.split()], [*command.split(), "--help"], [*command.split(), "-h"]):
                answer = self.run_tool(*words)
                self.assertEqual(answer.code, DONE, words)
                self.assertIn(f"usage: cdtx [OPTIONS] {command}", answer.out)
        self.assertEqual(self.run_tool("--help").out, self.run_tool("help").out)
        self.assertIn("tx resolve", self.run_tool("help", "tx").out)
        self.assertIn("tx resolve", self.run_tool("tx", "--help").out)
        for line in self.run_tool("help").out.split("\n"):
            self.assertLessEqual(len(line), 100)

    def test_version(self):
        self.assertRegex(self.run_tool("--version").out, r"^cdtx \d+\.\d+\.\d+\n$")

    def test_manual_has_everything(self):
        with open(os.path.join(SOURCE, "man", "cdtx.1"), encoding="utf-8") as page:
            text = page.read().replace("\\-", "-")
        for command in self.commands():
            self.assertIn(f"\n.It Cm {command}", text)
        for option in self.options():
            self.assertRegex(text, rf"(?m)^\.It Fl -{option[2:]}\b")

    def complete(self, line):
        script = self.run_tool("completion", "bash").out + (
            "read -ra COMP_WORDS <<<\"$LINE\"\n[[ $LINE != *' ' ]] || COMP_WORDS+=('')\n"
            "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_cdtx\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
        )
        done = subprocess.run(
            ["bash", "-eu", "-c", script], env={**os.environ, "LINE": line}, capture_output=True, text=True, check=False
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), line)
        return done.stdout.split()

    def test_bash_completion(self):
        nouns = "tx job handler cron topic group half held case audit doctor stats completion help".split()
        self.assertEqual(self.complete("cdtx "), nouns)
        self.assertEqual(self.complete("cdtx t"), ["tx", "topic"])
        self.assertEqual(self.complete("cdtx --log sqlite:x tx r"), ["retry", "resolve"])
        self.assertEqual(self.complete("cdtx --json tx unp"), ["unpark"])
        # As bash breaks a URL.
        self.assertEqual(self.complete("cdtx --log sqlite : /x tx --db a = sqlite : y unp"), ["unpark"])
        self.assertEqual(self.complete("cdtx help tx un"), ["unpark"])
        self.assertIn("--parked", self.complete("cdtx tx list --"))
        self.assertNotIn("--reason", self.complete("cdtx tx list --"))
        self.assertIn("--reason", self.complete("cdtx tx unpark x --"))
        self.assertEqual(self.complete("cdtx tx list --state COMMITT"), ["COMMITTING", "COMMITTED"])
        self.assertEqual(self.complete("cdtx job list --state D"), ["DEAD"])
        self.assertEqual(self.complete("cdtx job list --state W"), ["WAITING"])
        self.assertEqual(self.complete("cdtx job re"), ["retry", "redrive"])
        self.assertEqual(self.complete("cdtx job redrive --m"), ["--most"])
        self.assertEqual(self.complete("cdtx job redrive --error "), [])
        self.assertEqual(self.complete("cdtx handler "), ["list", "pause", "resume"])
        self.assertEqual(self.complete("cdtx --json half c"), ["commit"])
        self.assertEqual(self.complete("cdtx held "), ["list", "commit", "rollback"])
        self.assertEqual(self.complete("cdtx held list --a"), ["--after"])
        self.assertEqual(self.complete("cdtx held commit x --w"), ["--without-log"])
        self.assertEqual(self.complete("cdtx cron next x --z"), ["--zone"])
        self.assertEqual(self.complete("cdtx group remove a/b --y"), ["--yes"])
        self.assertEqual(self.complete("cdtx completion "), ["bash", "zsh"])
        self.assertEqual(self.complete("cdtx help "), nouns)
        self.assertEqual(self.complete("cdtx tx retry x --reason "), [])
        self.assertIn("--json", self.complete("cdtx doctor --"))

    def test_zsh_completion(self):
        script = self.run_tool("completion", "zsh").out
        self.assertTrue(script.startswith("#compdef cdtx\n"))
        self.assertIn("compdef _cdtx cdtx", script)


if __name__ == "__main__":
    main()
