-- From version 2 to version 3: which record of its task a change of state came after. Of what was written before, it is not known.
ALTER TABLE history ADD COLUMN record INTEGER;
