"""Timed work, put together. What comes round again is a file in `jobs/` and a line here."""

from collections.abc import Sequence

from actors.runtime import Runtime
from jobs.analytics import CountedDays, DaysOver
from jobs.deliveries import OldDeliveries
from jobs.retention import Retention
from jobs.rounds import Round, Rounds
from jobs.trials import Trials
from server.jobs import Tools


def rounds(tools: Tools, runtime: Runtime, followers: Sequence[str]) -> Rounds:
    """`followers` are the names of all who read the journal."""
    database, clock = tools.database, tools.clock
    found: list[Round] = [
        Trials(database, tools.queue, clock),
        DaysOver(database, clock),
        CountedDays(database),
        OldDeliveries(database),
    ]
    if keep_days := tools.settings.journal_keep_days:
        found.append(Retention(database, clock, keep_days, followers))
    return Rounds(runtime, found)
