"""The public headers as a binding reads them: what stands between the two marker comments, with no preprocessor."""

import re
from pathlib import Path

# In the order in which they build on each other.
HEADERS = ["cdtx.h", "admin.h", "tcc.h", "retry.h", "msg.h", "port.h", "test.h"]

BEGIN, END = "/* cdtx declarations begin */\n", "/* cdtx declarations end */\n"


def declarations(root):
    """One text that cffi's cdef takes as it is."""
    texts = []
    for header in HEADERS:
        text = Path(root, "include/cdtx", header).read_text(encoding="utf-8")
        if text.count(BEGIN) != 1 or text.count(END) != 1:
            raise ValueError(f"{header}: must have each marker comment once")
        body = text.split(BEGIN)[1].split(END)[0]
        if re.search(r"^\s*#", body, re.M):
            raise ValueError(f"{header}: a preprocessor line between the markers")
        texts.append(body)
    return "\n".join(texts)


def functions(root):
    """Names of the functions that the headers declare."""
    text = re.sub(r"/\*.*?\*/", "", declarations(root), flags=re.S)
    while re.search(r"\{[^{}]*\}", text):
        text = re.sub(r"\{[^{}]*\}", "", text)
    names = []
    for declaration in text.split(";"):
        found = re.match(r"(?!typedef\b)[\w\s*]*?(\w+)\s*\(", declaration.strip())
        if found:
            names.append(found.group(1))
    return names
