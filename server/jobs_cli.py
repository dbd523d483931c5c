"""`slotcast jobs`: what operators ask of the queue, and a process that does nothing but jobs."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, Optional, get_args

import asyncpg
import msgspec
import typer

from protocol.errors import Refused
from protocol.ids import is_uuid, new_id
from protocol.jobs import JobSeen, JobState
from server import config
from server.config import Settings

if TYPE_CHECKING:
    from jobs.job_queue import JobQueue
    from storage.postgres import Database, Transaction

app = typer.Typer(help="The queue of what is done after a booking.", no_args_is_help=True)

ConfigFile = Annotated[Optional[str], typer.Option("--config", help="A TOML file with settings.")]  # noqa: UP045 - typer on 3.11
Text = Optional[str]  # noqa: UP045 - typer on 3.11
JobId = Annotated[str, typer.Argument(help="Its id.")]

_BY = "command line"


@app.command("list")
def list_(
    state: Annotated[Text, typer.Option(help="waiting, behind, working, done or dead.")] = None,
    kind: Annotated[Text, typer.Option(help="Jobs of this kind.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
    json: Annotated[bool, typer.Option("--json", help="All of it, one job a line, for machines.")] = False,
    config_file: ConfigFile = None,
) -> None:
    """Show jobs, the oldest first."""
    from storage.jobs import list_jobs

    if state is not None and state not in get_args(JobState):
        raise _fail(f"{state!r} is no state of a job: {', '.join(get_args(JobState))}")

    async def ask(database: "Database", _: "JobQueue") -> "list[JobSeen]":
        return await list_jobs(database, state, kind, None, limit)

    for job in _with_queue(config_file, ask):
        if json:
            typer.echo(msgspec.json.encode(job).decode())
        else:
            tries = f"{job.attempts}/{job.attempts_max}"
            typer.echo(f"{job.id}  {job.state:8} {job.kind:20} {tries:>7}  {job.run_at}  {job.reason or ''}")


@app.command()
def retry(job_id: JobId, config_file: ConfigFile = None) -> None:
    """Do a job now, from its first try on."""

    async def ask(job: "JobSeen", queue: "JobQueue", transaction: "Transaction") -> None:
        if job.state not in ("dead", "waiting"):
            raise Refused("conflict", f"the job is {job.state}")
        await queue.retry(job.id, job.lane, transaction)

    _change(config_file, job_id, "job.retried", ask)
    typer.echo(f"{job_id} will be done")


@app.command()
def drop(job_id: JobId, config_file: ConfigFile = None) -> None:
    """Take a job out of the queue: what it was to do is not done."""

    async def ask(job: "JobSeen", queue: "JobQueue", transaction: "Transaction") -> None:
        if job.state == "working":
            raise Refused("conflict", "the job is being done")
        await queue.drop(job.id, job.lane, transaction)

    _change(config_file, job_id, "job.dropped", ask)
    typer.echo(f"{job_id} was dropped")


@app.command()
def work(
    slots: Annotated[
        Optional[int],  # noqa: UP045 - typer on 3.11
        typer.Option(min=1, max=256, help="How many jobs at a time. [default: SLOTCAST_JOB_WORKERS]"),
    ] = None,
    config_file: ConfigFile = None,
) -> None:
    """Do jobs until told to stop; what is in hand then is given back."""
    from server.logs import configure

    settings = config.load(config_file)
    configure(settings.log_level, settings.log_format)
    count = slots or settings.job_workers
    if not count:
        raise _fail("SLOTCAST_JOB_WORKERS is 0; say --slots")
    _run(_work(msgspec.structs.replace(settings, job_workers=count)))


async def _work(settings: Settings) -> None:
    from jobs.job_queue import JobQueue
    from server.auth import Auth
    from server.jobs import Jobs, Tools
    from server.keys import ring_of
    from server.node import SystemClock

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    database = await _open(settings, settings.pool_size)
    tasks: set[asyncio.Task[Any]] = set()

    def spawn(job: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
        task = loop.create_task(job, name=name)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    auth = Auth(settings.jwt_secret, ring_of(settings.jwt_keys, settings.jwt_secret))
    tools = Tools(settings, database, JobQueue(database), auth, SystemClock())
    jobs = Jobs(tools, {}, spawn)
    working = spawn(jobs.worker.run(), "jobs")
    working.add_done_callback(lambda _: stop.set())
    sys.stdout.write("working\n")
    sys.stdout.flush()
    try:
        await stop.wait()
        await jobs.stop(settings.drain_timeout_s / 2)
    finally:
        for task in tuple(tasks):
            task.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), settings.drain_timeout_s / 4)
        await jobs.close(settings.drain_timeout_s / 4)
        await database.close()
    if not working.cancelled() and (error := working.exception()) is not None:
        raise error


def _change(
    config_file: str | None,
    job_id: str,
    action: str,
    change: "Callable[[JobSeen, JobQueue, Transaction], Awaitable[None]]",
) -> None:
    """In one transaction with what is written in the audit log."""
    from storage.jobs import job_to_change
    from storage.records import AuditRow, add_audit

    if not is_uuid(job_id.lower()):
        raise _fail(f"{job_id!r} is no id of a job")

    async def ask(database: "Database", queue: "JobQueue") -> None:
        async with database.transaction() as transaction:
            job = await job_to_change(transaction, job_id.lower())
            await change(job, queue, transaction)
            before = msgspec.json.encode({"kind": job.kind, "state": job.state, "reason": job.reason}).decode()
            row = AuditRow(
                id=new_id(), business_id=job.business_id, by=_BY, action=action, what="job", what_id=job.id,
                before=before, after=None, address=None, user_agent=None, request_id="",
            )  # fmt: skip
            await add_audit(transaction, row)

    _with_queue(config_file, ask)


def _with_queue(config_file: str | None, ask: "Callable[[Database, JobQueue], Awaitable[Any]]") -> Any:
    from jobs.job_queue import JobQueue

    settings = config.load(config_file)

    async def both() -> Any:
        database = await _open(settings, 2)
        try:
            return await ask(database, JobQueue(database))
        finally:
            await database.close()

    return _run(both())


def _run(what: Coroutine[Any, Any, Any]) -> Any:
    try:
        return asyncio.run(what)
    except Refused as refused:
        raise _fail(refused.detail or refused.kind.title) from None
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _fail(f"cannot reach the database: {error}") from None


async def _open(settings: Settings, size: int) -> "Database":
    from server.dsn import dsn_of
    from storage.meter import NullMeter
    from storage.postgres import Database

    return await Database.open(dsn_of(settings), size, NullMeter())


def _fail(text: str) -> typer.Exit:
    typer.echo(f"slotcast: {text}", err=True)
    return typer.Exit(2)
