"""The slot-table peer: FastAPI and SQLAlchemy over slots that were made beforehand, a row for each start.

A booking locks its slot's row, sees whether it is free, adds the booking and marks the slot. It does for
a request what such a server does: a signed token and a role, a checked body, a request id in every
answer, counters for Prometheus. It is tuned as far as the design goes: uvloop and httptools, no access
log, the role out of the token instead of a query for the user, middleware without a task of its own, no
foreign keys, and a session that neither refreshes what it wrote nor resets its connection.
"""

import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

import jwt
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from sqlalchemy import DateTime, UniqueConstraint, bindparam, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.peers.bookings import uuid7
from bench.peers.serving import arguments

ALGORITHM = "HS256"
BOOKERS = {"client", "admin"}

REQUESTS = Counter("http_requests", "Requests answered", ["method", "path", "status"])
DURATION = Histogram("http_request_duration_seconds", "Time to answer", ["method", "path"])
BOOKED = Counter("bookings_created", "Bookings confirmed")
CONFLICTS = Counter("booking_conflicts", "Bookings refused because the slot was taken")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Base(DeclarativeBase):
    type_annotation_map: ClassVar = {datetime: DateTime(timezone=True)}


class Slot(Base):
    __tablename__ = "slots"
    __table_args__ = (UniqueConstraint("specialist_id", "starts_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    specialist_id: Mapped[UUID]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    booked: Mapped[bool] = mapped_column(default=False)


# Made once: building the expression anew would cost each request a tenth of a millisecond.
WANTED_SLOT = (
    select(Slot)
    .where(Slot.specialist_id == bindparam("specialist"), Slot.starts_at == bindparam("start"))
    .with_for_update()
)


class Booking(Base):
    __tablename__ = "bookings"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    slot_id: Mapped[int] = mapped_column(index=True)
    service_id: Mapped[UUID]
    client_id: Mapped[UUID]
    status: Mapped[str]
    created_at: Mapped[datetime]


class Wanted(BaseModel):
    """The body all contenders get; specialist and start name a slot."""

    model_config = ConfigDict(extra="forbid")

    professional_id: UUID
    service_id: UUID
    start: datetime
    client_id: UUID


class Booked(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    slot_id: int
    service_id: UUID
    client_id: UUID
    status: str
    created_at: datetime


class Claims(BaseModel):
    sub: UUID
    role: str


class Observed:
    """Gives every answer an X-Request-ID and counts it."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = str(uuid7())
        scope.setdefault("state", {})["request_id"] = request_id
        begun = time.perf_counter()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
                route = scope.get("route")
                method, path = scope["method"], "none" if route is None else route.path
                REQUESTS.labels(method, path, message["status"]).inc()
                DURATION.labels(method, path).observe(time.perf_counter() - begun)
            await send(message)

        await self._app(scope, receive, answer)


def make_app(engine: AsyncEngine, secret: str) -> FastAPI:
    sessions = async_sessionmaker(engine, expire_on_commit=False, autoflush=False)
    claims = TypeAdapter(Claims)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        yield
        await engine.dispose()

    async def session() -> AsyncGenerator[AsyncSession]:
        async with sessions() as opened:
            yield opened

    async def booker(request: Request) -> Claims:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise HTTPException(401, "Not authenticated")
        try:
            user = claims.validate_python(jwt.decode(token, secret, algorithms=[ALGORITHM]))
        except (jwt.InvalidTokenError, ValidationError) as error:
            raise HTTPException(401, "Not authenticated") from error
        if user.role not in BOOKERS:
            raise HTTPException(403, "Not allowed")
        return user

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(Observed)

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> Response:  # pyright: ignore[reportUnusedFunction]
        problem = {"code": f"http_{error.status_code}", "message": error.detail, "detail": error.detail}
        body = {"error": problem, "detail": error.detail, "request_id": request.state.request_id}
        return JSONResponse(body, error.status_code)

    @app.get("/readyz")
    async def ready() -> str:  # pyright: ignore[reportUnusedFunction]
        return "ready"

    @app.get("/metrics")
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.post("/api/v1/bookings", status_code=201)
    async def book(  # pyright: ignore[reportUnusedFunction]
        wanted: Wanted,
        user: Annotated[Claims, Depends(booker)],
        db: Annotated[AsyncSession, Depends(session)],
    ) -> Booked:
        if user.role == "client" and user.sub != wanted.client_id:
            raise HTTPException(403, "Only for yourself")
        slot = await db.scalar(WANTED_SLOT, {"specialist": wanted.professional_id, "start": wanted.start})
        if slot is None:
            raise HTTPException(404, "Slot not found")
        if slot.booked:
            CONFLICTS.inc()
            raise HTTPException(409, "Slot is already booked")
        slot.booked = True
        booking = Booking(
            id=uuid7(),
            slot_id=slot.id,
            service_id=wanted.service_id,
            client_id=wanted.client_id,
            status="confirmed",
            created_at=datetime.now(UTC),
        )
        db.add(booking)
        await db.commit()
        BOOKED.inc()
        return Booked.model_validate(booking)

    return app


def main() -> None:
    parser = arguments("Bookings of slots that were made beforehand.")
    parser.add_argument("--pool", type=int, default=16, help="database connections")
    options = parser.parse_args()
    engine = create_async_engine(
        os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://", 1),
        pool_size=options.pool,
        max_overflow=0,
        # Every path commits or closes its session; a second rollback would be a round trip for nothing.
        pool_reset_on_return=None,
    )
    uvicorn.run(
        make_app(engine, os.environ["TOKEN_SECRET"]),
        host="127.0.0.1",
        port=options.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
