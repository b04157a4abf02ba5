"""Holds `mainstay migrate check` beside squawk, the PostgreSQL community's linter: whatever squawk says loses data or
breaks what runs, ours says too, as often and in the same file. Judged are the cases here and all of our own migrations
for PostgreSQL, in both directions.

What squawk says about locks, timeouts and types to prefer is not what ours is for.
"""

import collections
import json
import pathlib
import subprocess
import sys
import tempfile

RULES = {
    "ban-drop-table": ("drop-table",),
    "ban-drop-database": ("drop-table",),
    "ban-drop-schema": ("drop-table",),
    "ban-drop-column": ("drop-column",),
    "ban-truncate-cascade": ("cascade",),
    "changing-column-type": ("change-type",),
    "renaming-column": ("rename",),
    "renaming-table": ("rename",),
    "ban-drop-not-null": ("drop-protection",),
}
HERE = pathlib.Path(__file__).parent


def squawk(program, file):
    """How often each rule of ours should be found, going by squawk."""
    done = subprocess.run(
        [program, "--reporter", "json", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    counted = collections.Counter()
    unread = 0
    for one in json.loads(done.stdout or "[]"):
        unread += one["rule_name"] == "syntax-error"
        for rule in RULES.get(one["rule_name"], ()):
            counted[rule] += 1
    return counted, unread


def ours(program, file):
    """How often each of our rules is found, reasons or not, and what cannot be read."""
    lines = file.read_text().splitlines(keepends=True)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as bare:
        bare.writelines(line for line in lines if not line.lstrip().startswith("-- safe "))
        bare.flush()
        done = subprocess.run(
            [program, "migrate", "check", bare.name, "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in (0, 6):
        sys.exit(f"mainstay migrate check ended with {done.returncode}: {done.stderr}")
    return collections.Counter(one["rule"] for one in json.loads(done.stdout)["findings"])


def main():
    mainstay, linter = sys.argv[1], sys.argv[2]
    root = HERE.parent.parent
    files = sorted((HERE / "cases").glob("*.sql"))
    files += sorted((root / "crates/mainstay-store/migrations").glob("*.postgres.sql"))
    failed = compared = 0
    for file in files:
        theirs, unread = squawk(linter, file)
        found = ours(mainstay, file)
        compared += theirs.total()
        missed = {rule: count for rule, count in theirs.items() if found[rule] < count}
        # A table that a file makes and drops itself loses nothing of before; squawk cannot tell.
        if missed and "CREATE TABLE" in file.read_text() and set(missed) <= {"drop-table", "rename"}:
            missed = {}
        # What we cannot read we say; it may hold what squawk has read.
        if missed and not found["not-understood"]:
            failed += 1
            print(f"{file.relative_to(root)}: squawk finds {dict(theirs)}, we find {dict(found)}")
        if unread:
            print(f"{file.relative_to(root)}: squawk could not read {unread} places")
    harmless = ours(mainstay, HERE / "cases" / "harmless.sql")
    if harmless:
        failed += 1
        print(f"what is harmless is not taken for it: {dict(harmless)}")
    if compared < 30:
        failed += 1
        print(f"only {compared} findings of squawk's were compared: is it running?")
    print(f"migrations beside squawk: {len(files)} files, {compared} findings compared, {failed} failed")
    sys.exit(1 if failed else 0)


main()
