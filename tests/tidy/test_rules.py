"""Each rule fires on a small bad tree, at the right place, and keeps quiet on a good one."""

import contextlib
import io
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import rules
import tidy

GOOD = {
    "lib/base/buf.h": "int cdtx__buf(void);\n",
    "lib/base/buf.c": '#include "base/buf.h"\n#include <string.h>\n\nint cdtx__buf(void) {\n    return 0;\n}\n',
    "lib/base/meson.build": "core_sources += files('buf.c')\n",
    "lib/pattern/tcc.c": '#include <cdtx/tcc.h>\n#include "base/buf.h"\n',
    "lib/pattern/meson.build": "tcc_sources = files('tcc.c')\n",
    "lib/libcdtx.map": "CDTX_1 {\nglobal:\n    cdtx_open;\nlocal:\n    *;\n};\n",
    "include/cdtx/cdtx.h": "int cdtx_open(void);\n",
    "include/cdtx/tcc.h": "#include <cdtx/cdtx.h>\n",
    "include/cdtx/meson.build": "install_headers('cdtx.h', 'tcc.h')\n",
    "man/cdtx_open.3": ".Sh NAME\n.Nm cdtx_open\n.Sh SYNOPSIS\n.Fn cdtx_open\n.Sh DESCRIPTION\nOpens.\n",
    "man/meson.build": "pages = files('cdtx_open.3')\n",
    "examples/first/first.c": "#include <cdtx/cdtx.h>\n",
    "examples/meson.build": "executable('first', 'first/first.c')\n",
    "README.md": "```c\n#include <cdtx/cdtx.h>\n```\n",
}


def fire(rule, **changes):
    """What a rule finds in the good tree after changes; a key is a path with __ for / and _dot_ for a dot."""
    files = dict(GOOD)
    for key, text in changes.items():
        files[key.replace("_dot_", ".").replace("__", "/")] = text
    return list(rule(rules.Tree(files)))


class Good(unittest.TestCase):
    def test_a_good_tree_has_no_findings(self):
        for rule in rules.TREE_RULES:
            self.assertEqual(list(rule(rules.Tree(GOOD))), [], rule.__name__)


class Includes(unittest.TestCase):
    def refused(self, path, include):
        files = dict(GOOD)
        files[path] = f"\n#include {include}\n"
        for name in ("lib/engine/tx.h", "lib/pattern/at.h", "lib/adapter/sqlite.h"):
            files.setdefault(name, "")
        found = list(rules.wrong_way(rules.Tree(files)))
        return bool(found) and (found[0].path, found[0].line) == (path, 2)

    def test_rooms(self):
        order = ["base", "port", "store", "engine", "pattern"]
        for low, room in enumerate(order):
            for high, target in enumerate(order):
                refused = self.refused(f"lib/{room}/tcc_x.c", f'"{target}/tcc.h"')
                self.assertEqual(refused, high > low, f"{room} -> {target}")

    def test_adapter_sees_base_and_port_only(self):
        for target in ("store", "engine", "pattern"):
            self.assertTrue(self.refused("lib/adapter/x.c", f'"{target}/a.h"'), target)
            self.assertTrue(self.refused(f"lib/{target}/x.c", '"adapter/sqlite.h"'), target)
        self.assertFalse(self.refused("lib/adapter/x.c", '"port/rows.h"'))

    def test_a_pattern_sees_no_other(self):
        self.assertTrue(self.refused("lib/pattern/tcc_guard.c", '"pattern/at.h"'))
        self.assertTrue(self.refused("lib/pattern/tcc.c", "<cdtx/at.h>"))
        self.assertFalse(self.refused("lib/pattern/tcc_guard.c", '"pattern/tcc.h"'))

    def test_public_headers(self):
        self.assertTrue(self.refused("lib/engine/tx.c", "<cdtx/tcc.h>"))
        self.assertTrue(self.refused("lib/engine/tx.c", "<cdtx/test.h>"))
        self.assertFalse(self.refused("lib/engine/link_test.c", "<cdtx/test.h>"))
        self.assertTrue(self.refused("include/cdtx/cdtx.h", "<cdtx/port.h>"))
        self.assertTrue(self.refused("include/cdtx/tcc.h", "<cdtx/test.h>"))
        self.assertTrue(self.refused("include/cdtx/tcc.h", '"base/buf.h"'))

    def test_holes_to_the_world(self):
        self.assertTrue(self.refused("lib/store/store.c", "<sqlite3.h>"))
        self.assertFalse(self.refused("lib/adapter/sqlite_error.c", "<sqlite3.h>"))
        self.assertTrue(self.refused("lib/engine/tx.c", "<pthread.h>"))
        self.assertTrue(self.refused("lib/engine/tx.c", "<sys/socket.h>"))
        self.assertFalse(self.refused("lib/base/env_posix.c", "<pthread.h>"))

    def test_outside_sees_public_headers_only(self):
        for room in ("tools", "examples", "bindings", "bench"):
            self.assertTrue(self.refused(f"{room}/x.c", '"base/buf.h"'), room)
            self.assertTrue(self.refused(f"{room}/x.c", '"../lib/base/buf.h"'), room)
            self.assertFalse(self.refused(f"{room}/x.c", "<cdtx/cdtx.h>"), room)

    def test_unknown_room_and_bare_name(self):
        self.assertTrue(fire(rules.wrong_way, lib__extra__x_dot_c=""))
        self.assertTrue(self.refused("lib/base/x.c", '"buf.h"'))

    def test_cycle(self):
        a, b = '#include "base/b.h"\n', '#include "base/a.h"\n'
        self.assertIn("a.h -> lib/base/b.h", fire(rules.cycle, lib__base__a_dot_h=a, lib__base__b_dot_h=b)[0].text)


class Files(unittest.TestCase):
    def test_dead_source_header_page(self):
        for path in ("lib__base__old_dot_c", "lib__base__old_dot_h", "man__old_dot_7", "tests__base__test_old_dot_c"):
            self.assertEqual(len(fire(rules.dead_file, **{path: ""})), 1, path)

    def test_a_header_nobody_installs(self):
        user = '#include <cdtx/at.h>\n'
        found = fire(rules.dead_file, include__cdtx__at_dot_h="", examples__first__first_dot_c=user)
        self.assertEqual([f.path for f in found], ["include/cdtx/at.h"])

    def test_a_loop_lists_its_tests(self):
        build = "foreach name : ['buf']\n  executable(name, 'test_@0@.c'.format(name))\nendforeach\n"
        files = {"tests__base__meson_dot_build": build, "tests__base__test_buf_dot_c": ""}
        self.assertEqual(fire(rules.dead_file, **files), [])
        self.assertEqual(len(fire(rules.dead_file, tests__base__test_map_dot_c="", **files)), 1)

    def test_names_that_say_nothing(self):
        for path in ("lib__base__util_dot_c", "tests__sim__net-helpers_dot_c", "lib__common__x_dot_c"):
            self.assertTrue(fire(rules.dumping_ground, **{path: ""}), path)

    def test_tracked_output(self):
        for path in ("build/x", "a/b.o", "core", "lib/core.123", "libcdtx.so.0.1.0", "log.db-wal"):
            self.assertEqual(len(list(rules.built(rules.Tree({}, [path])))), 1, path)
        self.assertEqual(list(rules.built(rules.Tree({}, ["lib/score.c", "lib/base/so.c"]))), [])


class Text(unittest.TestCase):
    def test_left_over(self):
        word = "TO" + "DO"
        self.assertEqual(fire(rules.left_over, lib__base__buf_dot_h=f"\n/* {word}: later */\n")[0].line, 2)
        self.assertEqual(fire(rules.left_over, lib__base__buf_dot_h='char t[] = "/tmp/XXXXXX";\n'), [])

    def test_layout(self):
        for text in ("x" * 121, "\tx", "x "):
            found = fire(rules.layout, lib__base__buf_dot_h=f"\n{text}\n")
            self.assertEqual([f.line for f in found], [2], repr(text))
        self.assertEqual(fire(rules.layout, lib__base__buf_dot_h="x" * 120 + "\n"), [])

    def test_function_length(self):
        def function(lines):
            return "int f(int a,\n      int b)\n{\n" + "    a++;\n" * (lines - 4) + "}\n"

        self.assertEqual(fire(rules.long_function, lib__base__buf_dot_c=function(80)), [])
        self.assertEqual(len(fire(rules.long_function, lib__base__buf_dot_c=function(81))), 1)


class Promises(unittest.TestCase):
    def test_symbol_without_page(self):
        page = GOOD["man/cdtx_open.3"].replace("cdtx_open", "cdtx_other") + "See cdtx_open.\n"
        self.assertIn("cdtx_open", fire(rules.no_page, man__cdtx_open_dot_3=page)[0].text)

    def test_system_calls(self):
        for call in ("malloc(1)", "free (p)", "time(NULL)", "rand()", "pthread_create(0)", "socket(1)", "usleep(1)",
                     "strdup(s)", "clock_gettime(0)", "getrandom(b, 1, 0)", "fork()", "calloc(1, 2)", "asprintf(s)"):
            source = f"\nvoid f(void) {{\n    {call};\n}}\n"
            self.assertEqual(len(fire(rules.system_call, lib__base__buf_dot_c=source)), 1, call)
            self.assertEqual(fire(rules.system_call, lib__base__env_posix_dot_c=source), [], call)

    def test_a_member_a_comment_and_a_literal_are_no_call(self):
        source = 'void f(void) {\n    env->random(1); /* malloc(1) */\n    g("free(x)", cdtx__free(2), e.time(3));\n}\n'
        self.assertEqual(fire(rules.system_call, lib__base__buf_dot_c=source), [])

    def test_readme_program(self):
        self.assertTrue(fire(rules.readme_program, README_dot_md="```c\n#include <cdtx/cdtx.h>\n\n```\n"))
        self.assertTrue(fire(rules.readme_program, README_dot_md="no program\n"))

    def test_failpoint(self):
        point = {"lib__base__buf_dot_c": 'int f(void) {\n    return FAILPOINT(env, "buf.full");\n}\n'}
        listed = {"tests__sim__cover_dot_c": '"buf.full",\n', "tests__fault__sweep_point_dot_c": '"buf.full",\n'}
        self.assertEqual(fire(rules.failpoint, **point, **listed), [])
        for place in listed:
            found = fire(rules.failpoint, **point, **{**listed, place: '"buf.empty",\n'})
            self.assertEqual([(found[0].path, found[0].line)], [("lib/base/buf.c", 2)])


class Objects(unittest.TestCase):
    def undefined(self, source, file):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "x.c")
            path.write_text(source, encoding="utf-8")
            target = pathlib.Path(folder, file + ".o")
            subprocess.run(["gcc", "-c", "-O0", "-fno-builtin", str(path), "-o", str(target)], check=True)
            return list(rules.undefined_symbol(tidy.undefined([str(target)])))

    def test_what_an_object_may_ask(self):
        malloc = "#include <stdlib.h>\nvoid *f(void);\nvoid *f(void) { return malloc(1); }\n"
        self.assertIn("malloc", self.undefined(malloc, "store_group.c")[0].text)
        self.assertEqual(self.undefined(malloc, "base_env_posix.c"), [])
        clock = "#include <time.h>\nlong f(void);\nlong f(void) { return time(0); }\n"
        self.assertIn("time", self.undefined(clock, "adapter_sqlite.c")[0].text)
        sqlite = "void *sqlite3_malloc(int);\nvoid *f(void);\nvoid *f(void) { return sqlite3_malloc(1); }\n"
        self.assertTrue(self.undefined(sqlite, "engine_tx.c"))
        self.assertEqual(self.undefined(sqlite, "adapter_sqlite_exec.c"), [])
        pure = "#include <string.h>\nint f(const char *);\nint f(const char *s) { return strcmp(s, s); }\n"
        self.assertEqual(self.undefined(pure, "store_group.c"), [])


class Command(unittest.TestCase):
    def run_on(self, files):
        with tempfile.TemporaryDirectory() as folder:
            for path, text in files.items():
                target = pathlib.Path(folder, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
            output = io.StringIO()
            with mock.patch.object(sys, "argv", ["tidy.py", folder]), contextlib.redirect_stdout(output):
                return tidy.main(), output.getvalue()

    def test_status(self):
        self.assertEqual(self.run_on(GOOD)[0], 0)
        status, output = self.run_on({**GOOD, "lib/base/buf.h": "\tx\n"})
        self.assertEqual(status, 1)
        self.assertIn("lib/base/buf.h:1: tab", output)
        self.assertEqual(self.run_on({})[0], 1)


if __name__ == "__main__":
    unittest.main()
