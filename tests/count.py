"""count.py LOG STATUS: prints "PASSED FAILED" for a run of meson test, from its JSON log and its exit status.

A program written with Check counts with each of its checks, every other test as one. Whatever did not pass failed:
a skipped test proves nothing, and neither does a run without tests."""

import json
import re
import sys

SUMMARY = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", re.M)


def count_test(entry):
    checks = SUMMARY.findall(entry.get("stdout", ""))
    total = sum(int(c[0]) for c in checks)
    bad = sum(int(c[1]) + int(c[2]) for c in checks)
    if entry["result"] != "OK":
        return total - bad, max(bad, 1)
    return (total - bad, bad) if total > 0 else (1, 0)


def count_log(lines, status):
    counts = [count_test(json.loads(line)) for line in lines if line.strip()]
    passed = sum(c[0] for c in counts)
    failed = sum(c[1] for c in counts)
    if failed == 0 and (status != 0 or passed == 0):
        failed = 1
    return passed, failed


def main():
    try:
        with open(sys.argv[1], encoding="utf-8") as log:
            passed, failed = count_log(log, int(sys.argv[2]))
    except OSError as error:
        print(f"count.py: {error}", file=sys.stderr)
        passed, failed = 0, 1
    print(passed, failed)


if __name__ == "__main__":
    main()
