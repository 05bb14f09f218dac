"""unpack.py CORPUS FOLDER: writes each line of a corpus as a file of raw bytes, as libFuzzer wants its seeds."""

import re
import sys
from pathlib import Path


def unpack(line):
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found.group(1).decode()), line)


def main():
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    lines = Path(sys.argv[1]).read_bytes().splitlines()
    for number, line in enumerate(lines):
        if not line.startswith(b"#"):
            (folder / f"seed-{number}").write_bytes(unpack(line))


if __name__ == "__main__":
    main()
