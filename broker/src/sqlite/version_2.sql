-- From version 1 to version 2: large values in pieces. What was stored before stays as it is.
CREATE TABLE piece(
  id INTEGER PRIMARY KEY,
  sum INTEGER NOT NULL,
  body BLOB NOT NULL,
  crc INTEGER NOT NULL) STRICT;
CREATE INDEX piece_sum ON piece(sum);
