-- Nodes: the processes that serve this installation. Each writes its own row again and again, for as long as it is there.
-- Both times are the database's.

CREATE TABLE node (
    id uuid PRIMARY KEY,
    version text NOT NULL CHECK (version <> ''),
    -- Where the others reach it; none: they do not.
    address text CHECK (address <> ''),
    -- What they know by who signed what it sends them. The private key never leaves the process.
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    since bigint NOT NULL,
    seen_at bigint NOT NULL
);

GRANT SELECT, INSERT, UPDATE, DELETE ON node TO mainstay_system;
