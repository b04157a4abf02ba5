-- Nodes: the processes that serve this installation. Each writes its own row again and again, for as long as it is there.
-- Both times are the database's. On SQLite there is one node, which has nobody to tell: the table stays empty.

CREATE TABLE node (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    version TEXT NOT NULL CHECK (version <> ''),
    -- Where the others reach it; none: they do not.
    address TEXT CHECK (address <> ''),
    -- What they know by who signed what it sends them. The private key never leaves the process.
    public_key BLOB NOT NULL CHECK (length(public_key) = 32),
    since INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;
