"""A disk that fails while an action is being made durable. BAD_DISK is the module that makes it fail."""

import os

from lab import Case, DONE, FAILED, main, UNKNOWN


class Disk(Case):
    def test_every_sync(self):
        """Whichever sync fails: the answer is that nothing was done, or that it may have been, and it is true."""
        self.stuck_order()
        answers = set()
        for number in range(1, 50):
            environment = {
                "CDTX_LOG": self.log,
                "LD_PRELOAD": os.environ["BAD_DISK"],
                "BAD_SYNC": str(number),
                # The sanitizer wants to be the first to be loaded.
                "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0",
            }
            before = len(self.json("audit", "list")["audit"])
            answer = self.run_tool("case", "note", "1", f"try {number}", environment=environment)
            answers.add(answer.code)
            self.assertIn(answer.code, (DONE, FAILED, UNKNOWN), answer.err)
            after = len(self.json("audit", "list")["audit"])
            if answer.code == DONE:
                self.assertEqual(after, before + 1)
                break
            self.assertEqual(answer.out, "")
            if answer.code == FAILED:
                self.assertEqual(after, before, answer.err)
            else:
                self.assertIn("look before it is repeated", answer.err)
            self.cdtx("audit", "verify")
        self.assertEqual(answer.code, DONE)
        self.assertIn(UNKNOWN, answers)


if __name__ == "__main__":
    main()
