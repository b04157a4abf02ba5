"""Jobs that are submitted in the caller's own PostgreSQL transaction."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Protocol

from .client import moment


class Cursor(Protocol):
    """A cursor of any driver for PostgreSQL (PEP 249)."""

    def execute(self, operation: str, parameters: Any, /) -> Any: ...

    def fetchone(self) -> Any: ...


# Every driver for PostgreSQL takes `%s`. Each value has its type, since they differ in what they tell the server of it.
_ENQUEUE = """
SELECT mainstay.enqueue(queue => %s::text, kind => %s::text, payload => %s::jsonb, tenant => coalesce(%s::text, 'default'),
    run_at => %s::timestamptz)
"""


def enqueue_in(
    cursor: Cursor,
    kind: str,
    payload: Any = None,
    *,
    queue: str,
    tenant: str | None = None,
    run_at: datetime | None = None,
) -> str:
    """Submits a job in the transaction of this cursor: it is there when that commits, and never when it does not.

    For a database that Mainstay shares with your own tables. The queue must be there already. `tenant` is a slug; left out,
    it is `default`. Returns the job's id.
    """
    text = None if payload is None else json.dumps(payload, ensure_ascii=False, allow_nan=False)
    cursor.execute(_ENQUEUE, (queue, kind, text, tenant, moment(run_at) if run_at else None))
    row = cursor.fetchone()
    return str(row["enqueue"] if isinstance(row, dict) else row[0])
