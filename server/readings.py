"""What a node tells Prometheus when it is scraped: plain integers of its parts, under their names."""

from collections.abc import Iterable

from actors.runtime import Runtime
from server.metrics import Reading
from storage.journal import PostgresJournal
from storage.postgres import Database


def gauge(name: str, text: str, value: float) -> Reading:
    return "gauge", name, text, {(): value}, ()


def counter(name: str, text: str, value: float) -> Reading:
    return "counter", name, text, {(): value}, ()


def of_node(runtime: Runtime, journal: PostgresJournal, database: Database) -> Iterable[Reading]:
    statistics, actors = runtime.statistics, runtime.roster.actors
    depth = [a.pending for a in actors.values() if a.pending]
    yield gauge("slotcast_actors_active", "Calendars in memory", len(actors))
    yield gauge("slotcast_mailbox_depth_max", "Commands of the busiest calendar", max(depth, default=0))
    yield gauge("slotcast_activations_waiting", "Requests waiting for a calendar", runtime.roster.activation.waiting)
    yield gauge("slotcast_journal_waiting", "Entries decided and not yet durable", journal.waiting)
    yield gauge("slotcast_views", "Views being watched", runtime.watch.views)
    yield gauge("slotcast_shards_owned", "Shards this node decides for", len(journal.owned))
    yield gauge("slotcast_database_connections_in_use", "Busy pool connections", database.in_use)
    yield "counter", "slotcast_commands", "Commands by outcome", {
        k: float(v) for k, v in statistics.commands.items()}, ("command", "outcome")  # fmt: skip
    yield "counter", "slotcast_entries_lost", "Decisions that were not written", {
        (k,): float(v) for k, v in statistics.lost.items()}, ("reason",)  # fmt: skip
    yield counter("slotcast_guard_violations", "Rows that a database guard refused", statistics.guard_violations)
    yield counter("slotcast_activations", "Calendars loaded", statistics.activations)
    yield counter("slotcast_passivations", "Calendars dropped while idle", statistics.passivations)
    yield counter("slotcast_replays", "Requests answered by their idempotency key", statistics.replayed)
    yield counter("slotcast_deltas", "Delta frames made", runtime.watch.deltas)
