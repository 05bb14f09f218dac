"""abi.py ROOT CHECK [FILE]: what the headers promise to other compilers and languages.

headers         every public header compiles alone as C11 and C++17 under harsh flags
cffi            its declarations parse as they stand
layout GOLDEN   sizes and offsets of the public structs are those of the golden table, for every compiler
symbols SO      headers = version script = dynamic symbols of the library"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import cffi

import declarations

HARSH = (
    "-Wall -Wextra -Werror -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Wcast-qual -Wredundant-decls"
    " -Wformat=2 -Wunused"
).split()
COMPILERS = {
    "gcc": ["-std=c11", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wold-style-definition", "-Wc++-compat"],
    "clang": ["-std=c11", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wc++-compat"],
    "g++": ["-std=c++17", "-Wold-style-cast", "-Wuseless-cast"],
    "clang++": ["-std=c++17", "-Wold-style-cast"],
}


def compile_text(root, text):
    """What each compiler says against the text, by compiler; nothing if it takes it."""
    complaints = {}
    for compiler, flags in COMPILERS.items():
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "source.cc" if "++" in compiler else "source.c")
            source.write_text(text, encoding="utf-8")
            command = [compiler, *flags, *HARSH, "-I", str(Path(root, "include")), "-fsyntax-only", str(source)]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode != 0:
                complaints[compiler] = run.stderr
    return complaints


def parse(root):
    ffi = cffi.FFI()
    ffi.cdef(declarations.declarations(root))
    return ffi


def check_headers(root):
    present = sorted(path.name for path in Path(root, "include/cdtx").glob("*.h"))
    if present != sorted(declarations.HEADERS):
        yield f"include/cdtx holds {present}, declarations.py knows {sorted(declarations.HEADERS)}"
    for header in present:
        # Twice: the guard must hold.
        text = f"#include <cdtx/{header}>\n" * 2
        for compiler, complaint in compile_text(root, text).items():
            yield f"{compiler} on {header}:\n{complaint}"


def check_cffi(root):
    ffi = parse(root)
    library = ffi.dlopen(None)
    constants = [name for name in dir(library) if name.startswith("CDTX_")]
    if "CDTX_REFUSED" not in constants or library.CDTX_REFUSED != -1:
        yield "the codes do not come through"
    typedefs = set(ffi.list_types()[0])
    for name in ("cdtx", "cdtx_error", "cdtx_options", "cdtx_sql_port", "cdtx_test_link"):
        if name not in typedefs:
            yield f"type {name} does not come through"


def plain_structs(ffi):
    """(name, type) of each struct whose fields are public."""
    for name in sorted(ffi.list_types()[0]):
        kind = ffi.typeof(name)
        if kind.kind == "struct" and kind.fields is not None:
            yield name, kind


def layout_table(ffi):
    for name, kind in plain_structs(ffi):
        yield f"{name} {ffi.sizeof(kind)}"
        for field, _ in kind.fields:
            yield f"{name}.{field} {ffi.offsetof(kind, field)}"


def layout_asserts(table):
    """The table as a program that compiles only if it is true."""
    lines = ["#include <stddef.h>\n"] + [f"#include <cdtx/{header}>\n" for header in declarations.HEADERS]
    lines.append("#ifdef __cplusplus\n#define CHECK(x) static_assert(x, #x)\n")
    lines.append("#else\n#define CHECK(x) _Static_assert(x, #x)\n#endif\n")
    for row in table:
        thing, number = row.split(" ")
        name, dot, field = thing.partition(".")
        lines.append(f"CHECK({f'offsetof({name}, {field})' if dot else f'sizeof({name})'} == {number});\n")
    return "".join(lines)


def check_layout(root, golden):
    table = list(layout_table(parse(root)))
    lines = Path(golden).read_text(encoding="utf-8").split("\n")
    wanted = [line for line in lines if line and not line.startswith("#")]
    for row in wanted:
        if row not in table:
            yield f"golden has '{row}', the headers do not: a published field moved or went away"
    for row in table:
        if row not in wanted:
            yield f"the headers have '{row}', golden does not: add the line if the field is new and last"
    for compiler, complaint in compile_text(root, layout_asserts(table)).items():
        yield f"{compiler} lays out a struct otherwise than cffi:\n{complaint}"


def map_symbols(root):
    text = Path(root, "lib/libcdtx.map").read_text(encoding="utf-8")
    return re.findall(r"^    (\w+);$", re.sub(r"local:\s+\*;", "", text), re.M)


def dynamic_symbols(library):
    nm = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True)
    rows = [line.split() for line in nm.stdout.split("\n") if line]
    # Type A: the names of the version nodes themselves.
    return [row[-1].split("@")[0] for row in rows if row[-2] != "A"]


def check_symbols(root, library):
    sources = {
        "the headers": declarations.functions(root),
        "lib/libcdtx.map": map_symbols(root),
        Path(library).name: dynamic_symbols(library),
    }
    every = set().union(*sources.values())
    for place, names in sources.items():
        if len(names) != len(set(names)):
            yield f"{place} names a symbol twice"
        for symbol in sorted(every - set(names)):
            yield f"{symbol} is missing in {place}"
    if len(every) == 0:
        yield "no symbols at all"


CHECKS = {"headers": check_headers, "cffi": check_cffi, "layout": check_layout, "symbols": check_symbols}


def main():
    root, name, *files = sys.argv[1:]
    complaints = list(CHECKS[name](root, *files))
    for complaint in complaints:
        print(complaint)
    print(f"{name}: {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
