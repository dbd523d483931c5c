"""Recurring bookings: offered with the conflicts named, booked together, read and cancelled together."""

from typing import Any

from protocol import bodies
from protocol import series as said
from protocol.errors import Refused
from protocol.ids import is_uuid
from server.edge import Call, Endpoint, Reply
from server.principal import role_of
from server.rest.bookings import TAKEN, asker


async def offer_series(call: Call[said.SeriesAsk, Any]) -> bytes:
    question = await call.node.series.question(call.business_id, call.body)
    return await call.node.switchboard.read(call.body.professional_id, call.business_id, question)


async def book_series(call: Call[said.SeriesCreate, Any]) -> Reply:
    made = await call.node.series.book(asker(call), call.body)
    return Reply(made, 201, {"Location": f"/api/v1/bookings/series/{made.id}"})


def _id(call: Call[Any, Any]) -> str:
    series_id = call.params["series_id"].lower()
    if not is_uuid(series_id):
        raise Refused("not_found", "there is no such series")
    return series_id


async def read_series(call: Call[Any, Any]) -> said.Series:
    rows = await call.node.series.rows(asker(call), _id(call), "bookings.read")
    return said.Series(id=_id(call), bookings=[row.body for row in rows], skipped=[])


async def cancel_series(call: Call[bodies.CancelBody, Any]) -> said.Series:
    by = role_of(call.principal, call.body.on_behalf_of)
    return await call.node.series.cancel(asker(call), _id(call), by, call.body.reason)


def routes(node: Any) -> list[Endpoint]:
    s = "/api/v1/bookings/series"
    return [
        Endpoint(node, "POST", s, book_series, needs="bookings.make", status=201, keyed=True, limit="bookings",
                 summary="Book a meeting that recurs", answer=said.Series, body=said.SeriesCreate, area="bookings",
                 errors=(*TAKEN, "series_conflict", "answers_required", "duration_not_offered")),
        Endpoint(node, "POST", s + "/offer", offer_series, needs="availability.read",
                 summary="Which meetings of a series could be booked", answer=said.SeriesOffer, body=said.SeriesAsk,
                 area="bookings", errors=("duration_not_offered",)),
        Endpoint(node, "GET", s + "/{series_id}", read_series, needs="bookings.read",
                 summary="Read the bookings of a series", answer=said.Series, area="bookings"),
        Endpoint(node, "POST", s + "/{series_id}/cancel", cancel_series, needs="bookings.change",
                 summary="Cancel what of a series is still to come", answer=said.Series, body=bodies.CancelBody,
                 area="bookings"),
    ]  # fmt: skip
