-- A database as schema version 1 left it: a person's table, an ended and a decided transaction, a guard, two jobs.
-- Frozen: it stands for the files that are out there. Never change it; a new version adds a new fixture.
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS cdtx_meta ( id INTEGER PRIMARY KEY CHECK (id = 1), uuid BLOB NOT NULL, version INTEGER NOT NULL, owner TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, job INTEGER NOT NULL, floor INTEGER NOT NULL, clock INTEGER NOT NULL, wall INTEGER NOT NULL) STRICT;
CREATE TABLE cdtx_guard ( log BLOB NOT NULL, seq INTEGER NOT NULL, branch INTEGER NOT NULL, state INTEGER NOT NULL, answer BLOB, PRIMARY KEY (log, seq, branch)) STRICT, WITHOUT ROWID;
CREATE TABLE cdtx_job ( id INTEGER PRIMARY KEY, queue TEXT NOT NULL, handler TEXT NOT NULL, state INTEGER NOT NULL, priority INTEGER NOT NULL, clock INTEGER NOT NULL, due INTEGER NOT NULL, attempts INTEGER NOT NULL, crashes INTEGER NOT NULL, token INTEGER NOT NULL, unique_key TEXT, concurrency_key TEXT, payload BLOB NOT NULL, error TEXT) STRICT;
CREATE INDEX cdtx_job_due ON cdtx_job (queue, handler, clock, priority, due) WHERE state = 1;
CREATE INDEX cdtx_job_lease ON cdtx_job (due) WHERE state = 2;
CREATE INDEX cdtx_job_concurrency ON cdtx_job (concurrency_key) WHERE state = 2 AND concurrency_key IS NOT NULL;
CREATE UNIQUE INDEX cdtx_job_unique ON cdtx_job (handler, unique_key) WHERE unique_key IS NOT NULL AND state < 3;
CREATE TABLE cdtx_tx ( seq INTEGER PRIMARY KEY, state INTEGER NOT NULL, reason INTEGER NOT NULL, epoch INTEGER NOT NULL, attempts INTEGER NOT NULL, due INTEGER, acked INTEGER NOT NULL, name TEXT NOT NULL, key TEXT, branches BLOB NOT NULL) STRICT;
CREATE INDEX cdtx_tx_due ON cdtx_tx (due) WHERE due IS NOT NULL;
CREATE UNIQUE INDEX cdtx_tx_key ON cdtx_tx (key) WHERE key IS NOT NULL;
INSERT INTO cdtx_meta VALUES (1, x'000102030405060708090a0b0c0d0e0f', 1, 'process 4711', 6, 41, 9, 1, 5000000, 1700000000000);
INSERT INTO cdtx_tx VALUES (40, 4, 0, 3, 1, NULL, 1, 'sale', 'order-40', x'010000000573746f636b000000000361626300');
INSERT INTO cdtx_tx VALUES (41, 2, 0, 3, 1, 5001000, 0, 'sale', 'order-41', x'010000000573746f636b000000000378797a00');
INSERT INTO cdtx_guard VALUES (x'000102030405060708090a0b0c0d0e0f', 41, 0, 1, x'68656c64');
INSERT INTO cdtx_job VALUES (8, 'default', 'mail', 1, 5, 0, 4000000, 2, 0, 2, 'order-40', NULL, x'64656172', 'no paper');
INSERT INTO cdtx_job VALUES (9, 'default', 'mail', 3, 0, 0, 0, 20, 0, 20, NULL, NULL, x'64656164', 'no printer');
CREATE TABLE stock (free INTEGER NOT NULL, held INTEGER NOT NULL, sold INTEGER NOT NULL);
INSERT INTO stock VALUES (9, 1, 0);
