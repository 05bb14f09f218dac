"""The rules of the house. Each takes a Tree and yields findings (path, line, sentence); none reads anything else."""

import re
from collections import namedtuple
from pathlib import PurePosixPath

Finding = namedtuple("Finding", "path line text")

COLUMNS_MAX = 120
FUNCTION_LINES_MAX = 80

# A room of lib/ and the rooms it may use. A pattern sees no other pattern: see wrong_way.
ROOMS = {
    "base": {"base"},
    "port": {"base", "port"},
    "store": {"base", "port", "store"},
    "engine": {"base", "port", "store", "engine"},
    "pattern": {"base", "port", "store", "engine", "pattern"},
    "adapter": {"base", "port", "adapter"},
}
# Rooms outside lib/ that see public headers only.
OUTSIDE = {"tools", "examples", "bindings", "bench"}
# What public headers may build on, and who in lib/ may see those that are not for every room.
PUBLIC_BASIS = {"cdtx.h", "port.h"}
PUBLIC_USES = {"cdtx.h": set(), "port.h": {"cdtx.h"}, "test.h": {"cdtx.h", "port.h"}}

# The owner of a hole to the world, and the headers and functions that only it may touch.
SYSTEM_OWNER = "lib/base/env_posix.c"
SYSTEM_HEADERS = re.compile(
    r"(pthread|threads|time|sys/time|sys/timerfd|sys/random|sys/socket|netinet/.*|arpa/.*|netdb|malloc|signal|poll"
    r"|sys/epoll|sys/eventfd|linux/futex|sys/syscall|unistd|sched)\.h"
)
SYSTEM_CALLS = (
    r"(m|c|re|aligned_)?alloc|reallocarray|free|alloca|strn?dup|v?asprintf|mmap"
    r"|time|clock|clock_\w+|gettimeofday|localtime(_r)?|gmtime(_r)?|u?sleep|nanosleep|timerfd_\w+"
    r"|s?rand(om)?(_r)?|[delmnj]rand48|getrandom|getentropy|arc4random\w*"
    r"|pthread_\w+|thrd_\w+|mtx_\w+|cnd_\w+|fork|vfork|clone|syscall|sched_\w+"
    r"|socket(pair)?|connect|accept4?|bind|listen|send(to|msg)?|recv(from|msg)?|getaddrinfo|p?poll|p?select"
    r"|epoll_\w+|eventfd"
)
CALL = re.compile(r"(?<![\w.>])(?:" + SYSTEM_CALLS + r")\s*\(")
# The heap and the mutexes of SQLite belong to its adapter.
THIRD_PARTY = {"sqlite3.h": re.compile(r"lib/adapter/sqlite\w*\.[ch]")}

# What an object of the library may ask of libc: nothing here has an effect outside the process's own memory.
PURE = re.compile(
    r"(mem(cpy|move|set|cmp|chr|rchr|mem)|str(n?len|n?cmp|n?casecmp|r?chr|str|n?cpy|spn|cspn|pbrk)"
    r"|strto(l|ul|ll|ull|d)|strerror_r"
    r"|__(mem|str|v?sn)\w*_chk|__isoc\w+_strto\w+|v?snprintf|qsort|bsearch|abort|__stack_chk_fail|__errno_location"
    r"|is(nan|inf|finite)|__ctype_\w+|_GLOBAL_OFFSET_TABLE_|(__start|__stop)_\w+)"
)
OURS = re.compile(r"cdtx_\w+")
SANITIZERS = re.compile(r"__(a|ub|t|l)san_\w+|__sanitizer_\w+")
# Objects that may ask for more, by the file they come from.
PRIVILEGES = {
    "base/error.c": re.compile(r"stderr|fprintf|__fprintf_chk|fwrite|fputs|fputc"),
    "base/env_posix.c": re.compile(r".*"),
    "base/digest.c": re.compile(r"EVP_Q_digest"),
    "adapter/sqlite": re.compile(r"sqlite3_\w+"),
}

DUMPING_GROUNDS = {"util", "utils", "common", "misc", "helper", "helpers"}
BUILT = re.compile(r"(^|/)(core(\.\d+)?|vgcore\.\d+|.*\.(o|a|so(\.\d+)*|gch|pyc|gcda|gcno|db|db-wal|db-shm))$|^build/")
LEFT_OVER = re.compile(r"\b(FIX" + r"ME|TO" + r"DO|XX" + r"X)\b")
CODE = {".c", ".h", ".py", ".sh", ".build", ".map"}


class Tree:
    """The text of the project's files by path; tracked holds the paths that git keeps."""

    def __init__(self, files, tracked=None):
        self.files = files
        self.tracked = list(files) if tracked is None else tracked

    def match(self, pattern):
        return [path for path in sorted(self.files) if re.fullmatch(pattern, path)]


def suffix(path):
    return PurePosixPath(path).suffix


def is_code(path):
    return suffix(path) in CODE or path in ("dev", ".ci/run")


def bare(text):
    """C source with comments and literals blanked, every character and line in its place."""

    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(\\.|[^"\\\n])*"|\'(\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def includes(text):
    """(line, form, name) of each include; form is the opening quote or bracket."""
    for number, line in enumerate(text.split("\n"), 1):
        found = re.match(r'\s*#\s*include\s*([<"])([^">]+)[">]', line)
        if found:
            yield number, found.group(1), found.group(2)


def pattern_of(name):
    """tcc.c, tcc_guard.c and tcc.h are one pattern."""
    return re.split(r"[_.]", name)[0]


# ---- who may include whom ----


def wrong_way(tree):
    """An include that goes up, sideways or past the public door."""
    for path in tree.match(r"lib/.*\.[ch]"):
        room = path.split("/")[1]
        if room not in ROOMS:
            yield Finding(path, 1, f"lib/{room} is no room of DESIGN section 3")
            continue
        for line, form, name in includes(tree.files[path]):
            reason = lib_refusal(path, room, form, name)
            if reason:
                yield Finding(path, line, f"includes {name}: {reason}")
    for path in tree.match(r"include/cdtx/\w+\.h"):
        allowed = PUBLIC_USES.get(PurePosixPath(path).name, PUBLIC_BASIS)
        for line, form, name in includes(tree.files[path]):
            if form == '"' or (name.startswith("cdtx/") and name[5:] not in allowed):
                yield Finding(path, line, f"includes {name}: a public header uses {sorted(allowed)} only")
    for path in tree.match(rf"({'|'.join(OUTSIDE)})/.*\.[ch]"):
        for line, form, name in includes(tree.files[path]):
            beside = str(PurePosixPath(path).parent / name)
            if form == '"' and (".." in name or beside not in tree.files):
                yield Finding(path, line, f"includes {name}: {path.split('/')[0]} sees public headers and its own only")


def lib_refusal(path, room, form, name):
    """Why this include is wrong in that file of lib/, or None."""
    file = PurePosixPath(path).name
    if form == '"':
        target = name.split("/")
        if len(target) != 2 or target[0] not in ROOMS:
            return 'write it as "room/file.h"'
        if target[0] not in ROOMS[room]:
            return f"{room} may use {sorted(ROOMS[room])} only"
        if room == "pattern" and target[0] == "pattern" and pattern_of(target[1]) != pattern_of(file):
            return "a pattern uses no other pattern"
        return None
    if name.startswith("cdtx/"):
        header = name[5:]
        if header in PUBLIC_BASIS or (header == "test.h" and file.endswith("_test.c")):
            return None
        if room == "engine" and header == "admin.h":
            return None
        if room == "pattern" and pattern_of(header) == pattern_of(file):
            return None
        return f"this public header is not for {path}"
    if name in THIRD_PARTY and not THIRD_PARTY[name].fullmatch(path):
        return "only its adapter may see it"
    if SYSTEM_HEADERS.fullmatch(name) and path != SYSTEM_OWNER:
        return f"only {SYSTEM_OWNER} may see it; ask the environment"
    return None


def resolve(tree, path, form, name):
    """The file of the tree that an include names, or None."""
    beside = str(PurePosixPath(path).parent / name)
    places = [beside, "lib/" + name, "tests/" + name] if form == '"' else ["include/" + name]
    return next((place for place in places if place in tree.files), None)


def cycle(tree):
    """Headers that include each other, however far round."""
    graph = {}
    for path in tree.match(r".*\.h"):
        targets = [resolve(tree, path, form, name) for _, form, name in includes(tree.files[path])]
        graph[path] = [target for target in targets if target in tree.files]
    done = set()

    def visit(path, trail):
        if path in trail:
            yield Finding(path, 1, "include cycle: " + " -> ".join(trail[trail.index(path) :] + [path]))
            return
        if path in done:
            return
        for target in graph.get(path, []):
            yield from visit(target, trail + [path])
        done.add(path)

    for path in graph:
        yield from visit(path, [])


# ---- files ----


def dead_file(tree):
    """A source that no build file lists, a header that nothing includes, a page that is not installed."""
    lists = {path: tree.files[path] for path in tree.match(r"(.*/)?meson\.build")}
    for path in tree.match(r"(lib|tests|examples|bench|tools|bindings)/.*\.c|man/.*\.[1-8]|include/.*\.h"):
        name = PurePosixPath(path)
        listed = False
        for folder in name.parents:
            wanted = "'" + str(name.relative_to(folder)) + "'"
            text = lists.get(str(folder / "meson.build").removeprefix("./"), "")
            # A loop names a test by its middle: test_@0@.c.
            middle = re.sub(r"^test_|\.c$", "", name.name)
            looped = "'test_@0@.c'" in text and f"'{middle}'" in text and name.name.startswith("test_")
            listed = listed or wanted in text or looped
        if not listed:
            yield Finding(path, 1, "dead file: no meson.build lists it")
    used = set()
    for path in tree.match(r".*\.[ch]"):
        used.update(resolve(tree, path, form, name) for _, form, name in includes(tree.files[path]))
    for path in tree.match(r"(lib|tests|examples|bench|tools)/.*\.h"):
        if path not in used:
            yield Finding(path, 1, "dead file: nothing includes it")


def dumping_ground(tree):
    """A name that says nothing draws everything."""
    for path in sorted(tree.files):
        for part in PurePosixPath(path).parts:
            if DUMPING_GROUNDS & set(re.split(r"[_.-]", part.lower())):
                yield Finding(path, 1, f"'{part}' names no subject")


def built(tree):
    """What a build or a crash leaves is not kept."""
    for path in tree.tracked:
        if BUILT.search(path):
            yield Finding(path, 1, "build output, a database or a core dump is tracked")


# ---- text ----


def left_over(tree):
    for path, text in sorted(tree.files.items()):
        if path != "LICENSE":
            for found in LEFT_OVER.finditer(text):
                yield Finding(path, line_of(text, found.start()), f"{found.group(0)} left over")


def layout(tree):
    """Long lines, tabs, trailing blanks."""
    for path, text in sorted(tree.files.items()):
        if path == "LICENSE":
            continue
        for number, line in enumerate(text.split("\n"), 1):
            if is_code(path) and len(line) > COLUMNS_MAX:
                yield Finding(path, number, f"{len(line)} columns, at most {COLUMNS_MAX}")
            if is_code(path) and "\t" in line:
                yield Finding(path, number, "tab")
            if line != line.rstrip():
                yield Finding(path, number, "trailing blank")


def long_function(tree):
    for path in tree.match(r".*\.[ch]"):
        start = 1
        for number, line in enumerate(bare(tree.files[path]).split("\n"), 1):
            if re.match(r"[A-Za-z_]", line):
                start = number
            elif line == "}" and number - start + 1 > FUNCTION_LINES_MAX:
                yield Finding(path, start, f"function of {number - start + 1} lines, at most {FUNCTION_LINES_MAX}")


# ---- promises ----


def map_symbols(tree):
    text = tree.files.get("lib/libcdtx.map", "")
    exported = re.sub(r"local:.*?\}", "}", text, flags=re.S)
    return re.findall(r"^\s+(cdtx_\w+);", exported, flags=re.M)


def no_page(tree):
    """Every exported symbol is named by NAME or SYNOPSIS of a page of section 3."""
    named = set()
    for path in tree.match(r"man/.*\.3"):
        head = re.search(r"^\.Sh NAME\n(.*?)(?=^\.Sh DESCRIPTION)", tree.files[path], flags=re.S | re.M)
        named.update(re.findall(r"\bcdtx_\w+", head.group(1)) if head else ())
    for symbol in map_symbols(tree):
        if symbol not in named:
            yield Finding("lib/libcdtx.map", 1, f"{symbol} has no page in man/*.3")


def system_call(tree):
    """Clock, random, thread, socket and memory functions have one owner."""
    for path in tree.match(r"lib/.*\.[ch]"):
        if path == SYSTEM_OWNER:
            continue
        text = bare(tree.files[path])
        for found in CALL.finditer(text):
            name = found.group(0).rstrip("( \t\n")
            yield Finding(path, line_of(text, found.start()), f"calls {name}: only {SYSTEM_OWNER} may")


def readme_program(tree):
    """The program that a reader pastes is the one that is compiled and run."""
    block = re.search(r"^```c\n(.*?)^```$", tree.files.get("README.md", ""), flags=re.S | re.M)
    if block is None:
        yield Finding("README.md", 1, "has no ```c block with the first program")
    elif block.group(1) != tree.files.get("examples/first/first.c"):
        yield Finding("README.md", 1, "its first program is not examples/first/first.c byte for byte")


def failpoint(tree):
    """A named point where the library may fail is struck: the simulator and the sweep fail if they never do."""
    for path in tree.match(r"lib/.*\.c"):
        for found in re.finditer(r'\bFAILPOINT\([^"\n]*"([\w.]+)"\)', tree.files[path]):
            for place in ("tests/sim/cover.c", "tests/fault/sweep_point.c"):
                if f'"{found.group(1)}"' not in tree.files.get(place, ""):
                    line = line_of(tree.files[path], found.start())
                    yield Finding(path, line, f"{place} does not know the failpoint {found.group(1)}")


# ---- objects ----


def undefined_symbol(nm_lines):
    """nm -A -u over the library's objects: what each may ask of the world. Takes lines instead of a tree."""
    for line in nm_lines:
        found = re.match(r"(?:.*[:/])?([a-z]+)_([\w-]+\.c)\.o:\s+[Uw] ([^@\s]+)", line)
        if not found:
            continue
        member, symbol = found.group(1) + "/" + found.group(2), found.group(3)
        if OURS.fullmatch(symbol) or PURE.fullmatch(symbol) or SANITIZERS.fullmatch(symbol):
            continue
        if any(member.startswith(owner) and allowed.fullmatch(symbol) for owner, allowed in PRIVILEGES.items()):
            continue
        yield Finding(member, 1, f"its object asks for {symbol}")


TREE_RULES = [
    wrong_way,
    cycle,
    dead_file,
    dumping_ground,
    built,
    left_over,
    layout,
    long_function,
    no_page,
    system_call,
    readme_program,
    failpoint,
]
