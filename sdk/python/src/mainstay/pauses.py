"""How long to wait before the same request is sent again."""

from __future__ import annotations

import random

from .errors import MainstayError, ProblemError, elsewhere

#: Behind a balancer the next request may reach the node that owns the jobs.
NEAR_SECS = 0.25
_NEAR_SECS_MAX = 1.0
_AWAY_SECS_MAX = 30.0


def longer(pause: float, error: MainstayError) -> float:
    """The pause after this one, in seconds: longer each time, and short where it is only another node that has to be asked."""
    if elsewhere(error):
        return min(_NEAR_SECS_MAX, max(NEAR_SECS, pause * 2))
    asked = error.retry_after_secs if isinstance(error, ProblemError) else None
    return min(_AWAY_SECS_MAX, max(NEAR_SECS, pause * 2, asked or 0.0))


def jittered(pause: float) -> float:
    """About as long: workers that were turned away at the same time do not come back at the same time."""
    return pause * random.uniform(0.75, 1.25)
