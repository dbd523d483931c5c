"""Is every answer what the model says, at the version it names and at some moment between question and answer?"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from tests.faults.history import NOTHING_DONE, History, Request, Said
from tests.faults.model import DAY_US, Calendar
from tests.faults.order import Bounds
from tests.faults.tables import Event

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00Z")
SLACK_US: Final = 50_000
"""How far the clocks that tell wall and monotonic time may drift apart during a run."""


def microseconds(text: str) -> int:
    span = datetime.fromisoformat(text) - _EPOCH
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds


def unexplained(
    history: History, calendar: Calendar, request: Request, made: list[Event], bounds: Bounds
) -> Iterator[str]:
    """What is wrong about the answers to one request."""
    name = f"{request.kind} {request.key}"
    for said in request.said:
        if said.status == 500 or (said.status == 503 and said.code not in NOTHING_DONE | {"unknown_outcome"}):
            yield f"answered badly: {name} {said.status} {said.code}"
        if said.code in NOTHING_DONE and any(e.request_id == f"{request.key}.{said.number}" for e in made):
            yield f"told that nothing was changed: {name} {said.code}"
    if len(made) > 1:
        yield f"made twice: {name} {[e.version for e in made]}"
    yield from _same_answers(request)
    first = request.answer
    if first is None:
        if request.keyed:
            yield f"not settled: {name}"
    elif request.kind == "slots":
        yield from _slots(history, calendar, request, first)
    elif request.kind == "look":
        yield from _look(calendar, request, first, bounds)
    elif request.done != bool(made):
        yield f"{'lost' if request.done else 'refused but made'}: {name} {first.status} {first.code}"
    elif request.done:
        yield from _told(request, first, made[0])
    elif first.status < 500:
        yield from _refused(history, calendar, request, first, bounds)


def _same_answers(request: Request) -> Iterator[str]:
    """The same key has the same result, whatever happened in between."""
    if request.kind in ("book", "hold", "cancel", "release") and len({str(_gist(a)) for a in request.answers}) > 1:
        yield f"another answer: {request.kind} {request.key} {[_gist(a) for a in request.answers]}"


def _gist(said: Said) -> tuple[Any, ...]:
    body = said.body
    if not isinstance(body, dict):
        return (said.status,)
    if said.status < 300:
        return said.status, body["id"], body.get("code"), body["start"], body["calendar_version"]
    return said.status, body["code"], body.get("calendar_version"), body.get("alternatives")


def _told(request: Request, said: Said, event: Event) -> Iterator[str]:
    """The answer is what the event says."""
    if request.kind == "release":
        return
    body, data = said.body, event.data
    wanted: dict[str, Any] = {"id": data["id"], "calendar_version": event.version}
    told: dict[str, Any] = {name: body.get(name) for name in wanted}
    if request.kind in ("book", "hold"):
        wanted["start"] = data["start"]
        told["start"] = microseconds(body["start"])
        if body["start"] != request.start:
            yield f"not what was asked: {request.kind} {request.key} for {request.start}, told {body['start']}"
    if request.kind == "book":
        wanted |= {"code": data["code"], "status": data["status"]}
        told |= {"code": body["code"], "status": body["status"]}
    if request.kind == "hold":
        # Told in milliseconds.
        wanted["expires_at"] = data["expires_at"] // 1000 * 1000
        told["expires_at"] = microseconds(body["expires_at"])
    if told != wanted:
        yield f"not what was told: {request.kind} {request.key} {told}, the journal has {wanted}"


def _refused(history: History, calendar: Calendar, request: Request, said: Said, bounds: Bounds) -> Iterator[str]:
    """A refusal has a reason."""
    name = f"{request.kind} {request.key} {said.status} {said.code}"
    began = history.wall(request.said[0].began) - SLACK_US
    ended = history.wall(said.ended) + SLACK_US
    version = said.body.get("calendar_version", bounds.ceiling(said.ended))
    if version > calendar.version:
        yield f"from the future: {name} at version {version}, the last is {calendar.version}"
    elif said.code == "slot_unavailable" and request.kind in ("book", "hold"):
        if all(s == "open" for s, _ in calendar.states(microseconds(request.start), version, began, ended)):
            yield f"without reason: {name}, {request.start} was open at version {version}"
        for slot in said.body["alternatives"]:
            states = calendar.states(microseconds(slot["start"]), version, began, ended)
            if all(state != "open" for state, _ in states):
                yield f"no alternative: {name} offers {slot['start']}, which was {states} at version {version}"
    elif said.code == "hold_gone" or (said.code == "not_found" and request.kind == "release"):
        if calendar.held(request.hold_id or request.target, version, ended):
            yield f"without reason: {name}, the hold was there at version {version}"
    elif said.code == "invalid_transition" and request.kind == "cancel":
        if calendar.was(request.target, version)[0] in ("pending", "confirmed"):
            yield f"without reason: {name}, the booking was there at version {version}"
    else:
        yield f"not to be expected: {name} {said.body.get('detail')}"


def _slots(history: History, calendar: Calendar, request: Request, said: Said) -> Iterator[str]:
    """`start` and `target` of the request are the first and last date asked for; the answer lists what is open."""
    if said.status != 200:
        yield f"not to be expected: slots {request.key} {said.status} {said.code}"
        return
    version, terms = said.body["version"], calendar.terms
    if version > calendar.version:
        yield f"from the future: slots {request.key} at version {version}, the last is {calendar.version}"
        return
    began, ended = history.wall(said.began) - SLACK_US, history.wall(said.ended) + SLACK_US
    shown = {microseconds(s["start"]): (s["state"], s["remaining"]) for s in said.body["slots"]}
    first = microseconds(f"{request.start}T00:00:00Z")
    for start in range(first, microseconds(f"{request.target}T00:00:00Z") + DAY_US, terms.step):
        states = calendar.states(start, version, began, ended)
        told = shown.pop(start, None)
        if (told is None and all(s == "open" for s, _ in states)) or (told is not None and told not in states):
            yield f"reading: slots {request.key} at version {version} shows {told} at {start}, true is {states}"
    if shown:
        yield f"reading: slots {request.key} shows {sorted(shown)} which are no slots"


def _look(calendar: Calendar, request: Request, said: Said, bounds: Bounds) -> Iterator[str]:
    """A booking that was acknowledged is found, as it was at some version since."""
    name = f"look {request.key}"
    if said.status != 200:
        yield f"not found: {name} {said.status} {said.code} of booking {request.target}"
        return
    low = calendar.was(request.target, bounds.floor(said.began))[1]
    high = calendar.was(request.target, bounds.ceiling(said.ended))[1]
    version = said.body["version"]
    if not low <= version <= high:
        yield f"reading: {name} shows booking version {version}, which can have been {low} to {high}"
    status = next((s for _, s, v in calendar.life(request.target) if v == version), "")
    if said.body["status"] != status:
        yield f"reading: {name} shows {said.body['status']}, at version {version} it was {status}"
