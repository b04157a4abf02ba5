//! A throw-away PostgreSQL cluster, through `tools/postgres`, which knows where the programs are and whose they are.
