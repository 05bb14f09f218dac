"""Each check complains about headers that break its promise, and not about good ones."""

import pathlib
import subprocess
import tempfile
import unittest

import cffi

import abi
import declarations

HEADER = """#ifndef {guard}
#define {guard}
#include <stdint.h>
{uses}
#ifdef __cplusplus
extern "C" {{
#endif
/* cdtx declarations begin */
{body}
/* cdtx declarations end */
#ifdef __cplusplus
}}
#endif
#endif
"""
BODIES = {
    "cdtx.h": "/* a (comment) */\ntypedef struct cdtx_pair { uint32_t size; int64_t value; } cdtx_pair;\n"
    "typedef int32_t (*cdtx_pair_fn)(void *user);\nenum { CDTX_REFUSED = -1 };\nint32_t cdtx_open(cdtx_pair *pair);",
    "admin.h": "",
    "msg.h": "",
    "retry.h": "",
    "tcc.h": "const char *cdtx_tcc_add(void);",
    "port.h": "void cdtx_close(void);",
    "test.h": "",
}
GOLDEN = "# sizes\ncdtx_pair 16\ncdtx_pair.size 0\ncdtx_pair.value 8\n"
MAP = "CDTX_1 {\nglobal:\n    cdtx_open;\n    cdtx_tcc_add;\n    cdtx_close;\nlocal:\n    *;\n};\n"
LIBRARY = "int cdtx_open(void) { return 0; }\nint cdtx_tcc_add(void) { return 0; }\nvoid cdtx_close(void) {}\n"


class Checks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.write("lib/libcdtx.map", MAP)
        self.write("layout.golden", GOLDEN)
        for header, body in BODIES.items():
            self.header(header, body)

    def write(self, path, text):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def header(self, name, body):
        uses = "" if name == "cdtx.h" else "#include <cdtx/cdtx.h>"
        self.write("include/cdtx/" + name, HEADER.format(guard=name.upper().replace(".", "_"), uses=uses, body=body))

    def library(self, source):
        self.write("x.c", source)
        target = str(self.root / "x.so")
        script = f"-Wl,--version-script={self.root / 'lib/libcdtx.map'}"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", target, str(self.root / "x.c"), script], check=True)
        return target

    def complaints(self, check, *arguments):
        return "\n".join(check(self.root, *arguments))

    def test_good(self):
        self.assertEqual(declarations.functions(self.root), ["cdtx_open", "cdtx_tcc_add", "cdtx_close"])
        self.assertEqual(self.complaints(abi.check_headers), "")
        self.assertEqual(self.complaints(abi.check_layout, self.root / "layout.golden"), "")
        self.assertEqual(self.complaints(abi.check_symbols, self.library(LIBRARY)), "")

    def test_a_header_that_is_no_cpp(self):
        self.header("tcc.h", "int cdtx_tcc_add(int class);")
        self.assertIn("g++ on tcc.h", self.complaints(abi.check_headers))

    def test_a_header_that_does_not_stand_alone(self):
        self.header("tcc.h", "size_t cdtx_tcc_add(void);")
        self.assertIn("gcc on tcc.h", self.complaints(abi.check_headers))

    def test_a_header_nobody_knows(self):
        self.header("at.h", "")
        self.assertIn("at.h", self.complaints(abi.check_headers))

    def test_preprocessor_between_the_markers(self):
        self.header("tcc.h", "#define X 1")
        with self.assertRaisesRegex(ValueError, "tcc.h"):
            abi.parse(self.root)

    def test_what_cffi_does_not_read(self):
        self.header("tcc.h", "int cdtx_tcc_add(void) __attribute__((cold));")
        with self.assertRaises(cffi.CDefError):
            abi.parse(self.root)

    def test_codes_and_types_must_come_through(self):
        self.assertIn("cdtx_sql_port", self.complaints(abi.check_cffi))

    def test_a_field_that_moved(self):
        self.header("cdtx.h", BODIES["cdtx.h"].replace("size; int64_t", "size; uint32_t more[2]; int64_t"))
        found = self.complaints(abi.check_layout, self.root / "layout.golden")
        self.assertIn("cdtx_pair.value 8", found)
        self.assertIn("cdtx_pair.more 4", found)

    def test_symbols_that_differ(self):
        found = self.complaints(abi.check_symbols, self.library("int cdtx_open;"))
        self.assertIn("cdtx_close is missing in x.so", found)
        library = self.library(LIBRARY)
        self.write("lib/libcdtx.map", MAP.replace("    cdtx_close;\n", ""))
        self.assertIn("cdtx_close is missing in lib/libcdtx.map", self.complaints(abi.check_symbols, library))
        self.header("port.h", "")
        self.assertIn("cdtx_close is missing in the headers", self.complaints(abi.check_symbols, library))


if __name__ == "__main__":
    unittest.main()
