"""tidy.py SOURCE [ARCHIVE...]: prints every broken rule of the house as path:line: text, and fails if there is one."""

import subprocess
import sys
from pathlib import Path

import rules


def git_paths(root, *what):
    command = ["git", "-c", f"safe.directory={root}", "-C", str(root), "ls-files", "-z", *what]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [path for path in output.split("\0") if path]


def listed(root):
    """Paths that belong to the project: what git keeps and what it would keep; in an unpacked archive, everything."""
    try:
        tracked = git_paths(root, "--cached")
        paths = set(tracked + git_paths(root, "--others", "--exclude-standard"))
    except (OSError, subprocess.CalledProcessError):
        every = (path.relative_to(root) for path in root.rglob("*"))
        tracked = paths = [str(path) for path in every if path.parts[0] not in ("build", ".git")]
    return sorted(path for path in paths if (root / path).is_file()), tracked


def read_tree(root):
    paths, tracked = listed(root)
    files = {}
    for path in paths:
        try:
            files[path] = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures and fixtures have no lines
    return rules.Tree(files, tracked)


def undefined(archives):
    lines = []
    for archive in archives:
        nm = subprocess.run(["nm", "-A", "-u", archive], check=True, capture_output=True, text=True)
        lines += nm.stdout.split("\n")
    return lines


def main():
    tree = read_tree(Path(sys.argv[1]).resolve())
    archives = sys.argv[2:]
    findings = [finding for rule in rules.TREE_RULES for finding in rule(tree)]
    findings += rules.undefined_symbol(undefined(archives))
    for finding in findings:
        print(f"{finding.path}:{finding.line}: {finding.text}")
    print(f"{len(tree.files)} files, {len(archives)} archives, {len(findings)} findings")
    return 1 if findings or not tree.files else 0


if __name__ == "__main__":
    sys.exit(main())
