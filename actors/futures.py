"""Telling futures whose owner may have gone: the first word counts, later ones are dropped."""

import asyncio

from actors.ports import Outcome, Work
from protocol.errors import Refused


def tell(work: Work, outcome: Outcome) -> None:
    if not work.future.done():
        work.future.set_result(outcome)


def fail(work: Work, refused: Refused) -> None:
    if not work.future.done():
        work.future.set_exception(refused)


def copy(source: "asyncio.Future[Outcome]", target: "asyncio.Future[Outcome]") -> None:
    """Gives a second asker what the first one hears."""
    if target.done():
        return
    if source.cancelled():
        target.set_exception(Refused("unknown_outcome"))
        return
    error = source.exception()
    if error is not None:
        target.set_exception(error)
    else:
        target.set_result(source.result())


def settle(future: "asyncio.Future[bool]", result: bool) -> None:
    if not future.done():
        future.set_result(result)


def refuse(future: "asyncio.Future[bool]", refused: Refused) -> None:
    if not future.done():
        future.set_exception(refused)
