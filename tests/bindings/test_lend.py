"""test_lend.py ROOT LIBRARY: Python's own sqlite3 connection lent to the library, by cffi in ABI mode and nothing else.

The two callbacks of Host are all that a binding must write. Python's sqlite3 module must use the very libsqlite3 that
the library uses: two copies of SQLite in one process lose each other's locks."""

import sqlite3
import sys
import tempfile
import unittest
from pathlib import Path

import cffi

ROOT, LIBRARY = sys.argv[1:3]
sys.path.insert(0, str(Path(ROOT, "tests/abi")))
sys.dont_write_bytecode = True

import declarations  # noqa: E402

ffi = cffi.FFI()
ffi.cdef(declarations.declarations(ROOT))
lib = ffi.dlopen(LIBRARY)


class Failed(Exception):
    def __init__(self, code, text):
        super().__init__(f"{ffi.string(lib.cdtx_code_name(code)).decode()}: {text}")
        self.code = code


def call(function, *arguments):
    """Calls with an error behind the arguments, and raises what it says."""
    err = ffi.new("cdtx_error *")
    code = function(*arguments, err)
    if code != 0:
        raise Failed(code, ffi.string(err.text).decode())


def struct(name, **fields):
    return ffi.new(f"{name} *", {"size": ffi.sizeof(name), **fields})


# ---- the binding ----


def to_python(value):
    if value.type == lib.CDTX_INT:
        return value.integer
    if value.type == lib.CDTX_REAL:
        return value.real
    if value.type == lib.CDTX_NULL:
        return None
    data = ffi.buffer(value.bytes, value.length)[:] if value.length else b""
    return data.decode() if value.type == lib.CDTX_TEXT else data


def to_values(row, kept):
    values = ffi.new("cdtx_value[]", len(row))
    for value, item in zip(values, row):
        if isinstance(item, int):
            value.type, value.integer = lib.CDTX_INT, item
        elif isinstance(item, float):
            value.type, value.real = lib.CDTX_REAL, item
        elif item is not None:
            value.type = lib.CDTX_TEXT if isinstance(item, str) else lib.CDTX_BLOB
            data = item.encode() if isinstance(item, str) else item
            kept.append(ffi.from_buffer(data))
            value.bytes, value.length = kept[-1], len(data)
    return values


def class_of(error):
    text = str(error)
    if isinstance(error, sqlite3.OperationalError) and "locked" in text:
        return lib.CDTX_BUSY
    if isinstance(error, sqlite3.OperationalError) and ("disk" in text or "readonly" in text):
        return lib.CDTX_IO
    return lib.CDTX_SQL if isinstance(error, sqlite3.Error) else lib.CDTX_UNKNOWN


class Host:
    """Lends connections of the sqlite3 module."""

    def __init__(self, parameters=None):
        self.calls = 0
        self.lent = {}
        self.exec = ffi.callback(
            "int32_t(void *, void *, const char *, const cdtx_value *, uint32_t, cdtx_rows *, int64_t *, cdtx_error *)",
            self.run,
            error=lib.CDTX_UNKNOWN,
        )
        self.in_transaction = ffi.callback("int32_t(void *, void *)", self.is_open, error=0)
        self.port = struct(
            "cdtx_host_port",
            dialect=lib.CDTX_DIALECT_SQLITE,
            parameters=lib.CDTX_PARAMETERS_QUESTION if parameters is None else parameters,
            exec=self.exec,
            in_transaction=self.in_transaction,
        )

    def name(self, connection):
        """What the library gives back to the callbacks."""
        handle = ffi.cast("void *", id(connection))
        self.lent[int(ffi.cast("uintptr_t", handle))] = connection
        return handle

    def of(self, handle):
        return self.lent[int(ffi.cast("uintptr_t", handle))]

    def is_open(self, _user, handle):
        return int(self.of(handle).in_transaction)

    def run(self, _user, handle, statement, values, count, rows, changes, err):
        self.calls += 1
        try:
            arguments = [to_python(values[i]) for i in range(count)]
            cursor = self.of(handle).execute(ffi.string(statement).decode(), arguments)
            found = cursor.fetchall()
            changes[0] = cursor.rowcount
        except (sqlite3.Error, sqlite3.Warning) as error:
            return lib.cdtx_error_set(err, class_of(error), str(error).encode())
        for row in found if rows != ffi.NULL else []:
            kept = []
            code = lib.cdtx_rows_add(rows, to_values(row, kept), len(row), err)
            if code != 0:
                return code
        return 0


# ---- the tests ----


class Lend(unittest.TestCase):
    def setUp(self):
        self.kept = []  # what the library borrows
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = str(Path(folder.name, "shop.db"))
        self.host = Host()
        self.connection = self.connect()
        self.connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)")
        log = ffi.new("char[]", f"sqlite:{folder.name}/log.db".encode())
        self.engine = self.out("cdtx **", lib.cdtx_open, struct("cdtx_options", log=log))
        self.addCleanup(lib.cdtx_close, self.engine)
        self.db = self.out("cdtx_db **", lib.cdtx_db_host, self.engine, b"shop", self.host.port)
        self.addCleanup(lib.cdtx_db_close, self.db)
        call(lib.cdtx_host_prepare, self.db, self.host.name(self.connection))

    def connect(self):
        connection = sqlite3.connect(self.path, timeout=0)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        self.addCleanup(connection.close)
        return connection

    def out(self, kind, function, *arguments):
        place = ffi.new(kind)
        call(function, *arguments, place)
        return place[0]

    def turn(self, for_ms=0):
        call(lib.cdtx_host_run, self.db, self.host.name(self.connection), for_ms)

    def lend(self):
        return self.out("cdtx_sql **", lib.cdtx_lend, self.db, self.host.name(self.connection))

    def put(self, sql, payload):
        call(lib.cdtx_job_put, sql, b"mail", payload, len(payload), ffi.NULL, ffi.NULL)

    def order(self, payload, commit):
        """An order by plain Python, and its mail by the library, in one transaction."""
        self.connection.execute("INSERT INTO orders (note) VALUES ('by Python')")  # begins, as the module does
        sql = self.lend()
        self.put(sql, payload)
        if commit:
            self.connection.commit()
        else:
            self.connection.rollback()
        call(lib.cdtx_lent_settle, sql, 0 if commit else lib.CDTX_REFUSED)

    def handle(self, function):
        callback = ffi.callback("int32_t(cdtx_work *, void *, cdtx_error *)", function, error=lib.CDTX_USER)
        options = struct("cdtx_handler_options", handler=callback, in_local=1)
        self.kept.append(callback)
        call(lib.cdtx_handler_add, self.db, b"mail", options)

    def one(self, query):
        return self.connection.execute(query).fetchone()[0]

    def notes(self):
        return [row[0] for row in self.connection.execute("SELECT note FROM orders ORDER BY id")]

    def test_a_job_is_done_exactly_when_python_commits(self):
        seen = []

        def mail(work, _user, err):
            length = ffi.new("size_t *")
            payload = lib.cdtx_work_payload(work, length)
            seen.append(ffi.buffer(payload, length[0])[:])
            sql = lib.cdtx_work_sql(work)
            lib.cdtx_sql_bind_text(sql, b"mailed", 6)
            return lib.cdtx_sql_exec(sql, b"INSERT INTO orders (note) VALUES (?)", ffi.NULL, err)

        self.handle(mail)
        self.order(b"rolled back", commit=False)
        self.turn()
        self.assertEqual(seen, [])
        self.order(b"committed", commit=True)
        self.assertEqual(self.one("SELECT count(*) FROM cdtx_job"), 1)
        self.turn()
        self.assertEqual(seen, [b"committed"])
        self.assertEqual(self.notes(), ["by Python", "mailed"])
        self.assertEqual(self.one("SELECT count(*) FROM cdtx_job"), 0)
        self.assertFalse(self.connection.in_transaction)

    def test_values_come_through_both_ways(self):
        self.connection.execute("BEGIN IMMEDIATE")
        sql = self.lend()
        lib.cdtx_sql_bind_int(sql, -(2**63))
        lib.cdtx_sql_bind_real(sql, 0.1)
        lib.cdtx_sql_bind_text(sql, "Münze\0x".encode(), 8)
        lib.cdtx_sql_bind_blob(sql, b"\0\xff", 2)
        lib.cdtx_sql_bind_null(sql)
        call(lib.cdtx_sql_query, sql, b"SELECT ?1, ?2, ?3, ?4, ?5, ?1")
        self.assertEqual(lib.cdtx_sql_next(sql), 1)
        length = ffi.new("size_t *")
        self.assertEqual(lib.cdtx_sql_int(sql, 0), -(2**63))
        self.assertEqual(lib.cdtx_sql_real(sql, 1), 0.1)
        text = lib.cdtx_sql_text(sql, 2, length)
        self.assertEqual(ffi.buffer(text, length[0])[:].decode(), "Münze\0x")
        blob = lib.cdtx_sql_blob(sql, 3, length)
        self.assertEqual(ffi.buffer(blob, length[0])[:], b"\0\xff")
        self.assertEqual(lib.cdtx_sql_is_null(sql, 4), 1)
        self.assertEqual(lib.cdtx_sql_int(sql, 5), -(2**63))
        self.connection.rollback()
        call(lib.cdtx_lent_settle, sql, lib.CDTX_REFUSED)

    def test_a_participant_is_served_by_turns(self):
        seen = []

        def handler(name):
            def run(sql, tcc_call, _user, err):
                length = ffi.new("size_t *")
                payload = lib.cdtx_tcc_payload(tcc_call, length)
                seen.append((name, ffi.buffer(payload, length[0])[:]))
                lib.cdtx_sql_bind_text(sql, name, len(name))
                return lib.cdtx_sql_exec(sql, b"INSERT INTO orders (note) VALUES (?)", ffi.NULL, err)

            callback = ffi.callback(
                "int32_t(cdtx_sql *, cdtx_tcc_call *, void *, cdtx_error *)", run, error=lib.CDTX_USER
            )
            self.kept.append(callback)
            return callback

        handlers = struct(
            "cdtx_tcc_handlers", on_try=handler(b"try"), on_confirm=handler(b"confirm"), on_cancel=handler(b"cancel")
        )
        call(lib.cdtx_tcc_add, self.db, b"shop.order", handlers)
        tx = self.out("cdtx_tx **", lib.cdtx_tx_new, self.engine, struct("cdtx_tx_options", tag=7))
        call(lib.cdtx_tx_add, tx, b"shop.order", b"crab", 4)
        call(lib.cdtx_tx_submit, tx)
        work = ffi.NULL
        for _ in range(1000):
            self.turn(10)
            work = self.out("cdtx_work **", lib.cdtx_take, self.engine, 0)
            if work != ffi.NULL:
                break
        self.assertNotEqual(work, ffi.NULL)
        self.assertEqual(lib.cdtx_work_tag(work), 7)
        call(lib.cdtx_work_result, work)
        call(lib.cdtx_settle, work, 0, ffi.NULL)
        lib.cdtx_tx_close(tx)
        self.assertEqual(seen, [(b"try", b"crab"), (b"confirm", b"crab")])
        self.assertEqual(self.notes(), ["try", "confirm"])

    def test_a_forgotten_settle_is_noticed(self):
        self.connection.execute("BEGIN IMMEDIATE")
        sql = self.lend()
        self.connection.commit()
        with self.assertRaises(Failed) as noticed:
            self.put(sql, b"late")
        self.assertEqual(noticed.exception.code, lib.CDTX_MISUSE)
        self.assertIn("settle", str(noticed.exception))
        counts = struct("cdtx_metrics")
        call(lib.cdtx_metrics_read, self.engine, counts)
        self.assertEqual(counts.alarms, 1)
        with self.assertRaises(Failed) as noticed:
            call(lib.cdtx_lent_settle, sql, 0)
        self.assertIn("too late", str(noticed.exception))

    def test_another_connections_lock_is_busy(self):
        other = self.connect()
        other.execute("BEGIN IMMEDIATE")
        self.connection.execute("BEGIN")
        sql = self.lend()
        with self.assertRaises(Failed) as busy:
            self.put(sql, b"x")
        self.assertEqual(busy.exception.code, lib.CDTX_BUSY)
        self.connection.rollback()
        call(lib.cdtx_lent_settle, sql, lib.CDTX_REFUSED)
        other.rollback()
        self.order(b"again", commit=True)

    def test_unsafe_settings_are_refused(self):
        self.connection.execute("PRAGMA synchronous = NORMAL")
        with self.assertRaises(Failed) as refused:
            self.turn()
        self.assertEqual(refused.exception.code, lib.CDTX_UNSUPPORTED)
        self.assertIn("PRAGMA synchronous = FULL", str(refused.exception))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
