"""What operators see of the queue of jobs."""

from typing import Literal

from protocol.bodies import Answer

JobState = Literal["waiting", "behind", "working", "done", "dead"]


class JobSeen(Answer, kw_only=True):
    """`behind` waits for another job of its lane. `run_at` is when it is due, `reason` why its last try failed."""

    id: str
    kind: str
    business_id: str | None
    state: JobState
    key: str | None
    lane: str | None
    run_at: str
    attempts: int
    attempts_max: int
    reason: str | None
    created_at: str
    updated_at: str
