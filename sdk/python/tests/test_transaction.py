"""What a cursor is given. That it takes effect is tested with a database, under server/."""

from __future__ import annotations

import unittest
from datetime import datetime, timezone
from typing import Any

from mainstay import enqueue_in


class Cursor:
    def __init__(self, row: Any) -> None:
        self.row = row
        self.parameters: Any = None

    def execute(self, operation: str, parameters: Any, /) -> None:
        assert operation.count("%s") == len(parameters)
        self.parameters = parameters

    def fetchone(self) -> Any:
        return self.row


class Transactions(unittest.TestCase):
    def test_the_job_is_handed_to_the_callers_cursor_and_its_id_comes_back(self) -> None:
        cursor = Cursor(("job_1",))
        at = datetime(2030, 1, 2, tzinfo=timezone.utc)
        self.assertEqual(enqueue_in(cursor, "order.confirm", {"order": "§"}, queue="mail", tenant="acme", run_at=at), "job_1")
        self.assertEqual(cursor.parameters, ("mail", "order.confirm", '{"order": "§"}', "acme", "2030-01-02T00:00:00+00:00"))

    def test_rows_may_be_dictionaries_and_what_is_left_out_is_null(self) -> None:
        cursor = Cursor({"enqueue": "job_2"})
        self.assertEqual(enqueue_in(cursor, "a", queue="q"), "job_2")
        self.assertEqual(cursor.parameters, ("q", "a", None, None, None))
