-- Callboard store, version 3. Bodies are JSON; times are milliseconds since 1970; `crc` covers all other columns of its row.
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Written once, when a task is submitted.
CREATE TABLE task(
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  run TEXT NOT NULL,
  parent TEXT,
  capability TEXT NOT NULL,
  body TEXT NOT NULL,
  crc INTEGER NOT NULL) STRICT;
CREATE INDEX task_run ON task(run, seq);

-- Where each unfinished task stands; the row goes when the outcome comes. `node` is set while somebody holds it;
-- `records` is the length of its log.
CREATE TABLE queue(
  seq INTEGER PRIMARY KEY,
  claims INTEGER NOT NULL,
  free INTEGER NOT NULL,
  not_before INTEGER NOT NULL,
  records INTEGER NOT NULL,
  lease INTEGER,
  node TEXT,
  since INTEGER,
  crc INTEGER NOT NULL) STRICT;

-- Written once, when a task ends. `lease` is the claim that ended it.
CREATE TABLE outcome(
  seq INTEGER PRIMARY KEY,
  status TEXT NOT NULL,
  at INTEGER NOT NULL,
  lease INTEGER,
  attempts INTEGER NOT NULL,
  records INTEGER NOT NULL,
  body TEXT NOT NULL,
  crc INTEGER NOT NULL) STRICT;

-- What happened to each task on its way.
CREATE TABLE journal(
  seq INTEGER NOT NULL,
  n INTEGER NOT NULL,
  at INTEGER NOT NULL,
  body TEXT NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY(seq, n)) STRICT, WITHOUT ROWID;

-- Pieces of large values, deflated, each stored once. What refers to them is a value `{"$value": ...}`, which lists their
-- ids. `sum` is the CRC-32 of a piece and its length, by which it is found.
CREATE TABLE piece(
  id INTEGER PRIMARY KEY,
  sum INTEGER NOT NULL,
  body BLOB NOT NULL,
  crc INTEGER NOT NULL) STRICT;
CREATE INDEX piece_sum ON piece(sum);

-- Events, packed: neighbours of one run and one commit. Number `first` and those that follow it.
CREATE TABLE page(
  first INTEGER PRIMARY KEY,
  run TEXT,
  count INTEGER NOT NULL,
  body TEXT NOT NULL,
  crc INTEGER NOT NULL) STRICT;
CREATE INDEX page_run ON page(run, first) WHERE run IS NOT NULL;

-- Shared state as it is, all that led to it, and copies of the whole from time to time. An entry's version is the number
-- of the change that made it. A null `value` in the history is a deletion.
CREATE TABLE state(
  key TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  value TEXT NOT NULL,
  updated_by TEXT NOT NULL,
  updated_at INTEGER NOT NULL,
  crc INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE history(
  sequence INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  value TEXT,
  previous TEXT,
  updated_by TEXT NOT NULL,
  at INTEGER NOT NULL,
  task TEXT,
  attempt INTEGER,
  crc INTEGER NOT NULL,
  record INTEGER) STRICT;
CREATE INDEX history_key ON history(key, sequence);
CREATE TABLE snapshot(
  sequence INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  body TEXT NOT NULL,
  crc INTEGER NOT NULL) STRICT;

-- Numbers of dead letters are never used again, also not after a purge.
CREATE TABLE dead(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  task TEXT,
  body TEXT NOT NULL,
  crc INTEGER NOT NULL) STRICT;
CREATE INDEX dead_message ON dead(seq) WHERE task IS NULL;

-- For people. Callboard itself reads the tables and verifies each row.
CREATE VIEW tasks AS
  SELECT t.seq, t.id, t.run, t.capability,
    coalesce(o.status, CASE WHEN q.node IS NULL THEN 'pending' ELSE 'in_progress' END) AS status,
    coalesce(o.attempts, q.claims - q.free) AS attempt,
    coalesce(q.node, o.body ->> 'node') AS node,
    o.body ->> 'agent' AS agent,
    datetime((t.body ->> 'created_at') / 1000, 'unixepoch') AS created,
    datetime(o.at / 1000, 'unixepoch') AS ended,
    t.parent,
    t.body -> 'input' AS input,
    o.body -> 'output' AS output,
    o.body -> 'error' ->> 'message' AS error
  FROM task t LEFT JOIN queue q ON q.seq = t.seq LEFT JOIN outcome o ON o.seq = t.seq;
CREATE VIEW events AS
  SELECT e.value ->> 'seq' AS seq, e.value ->> 'type' AS type, e.value ->> 'agent' AS agent,
    e.value ->> 'run' AS run, e.value ->> 'task' AS task,
    datetime((e.value ->> 'time') / 1000, 'unixepoch') AS time,
    e.value -> 'payload' AS payload
  FROM page p, json_each(p.body) e;
CREATE VIEW changes AS
  SELECT sequence, key, iif(value IS NULL, 'delete', 'set') AS op, value, previous, updated_by,
    datetime(at / 1000, 'unixepoch') AS time, task, attempt
  FROM history;
