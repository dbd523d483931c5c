"""A worker in a process of its own, to be killed: writes each job it does to a file, and then hangs before it says so.

python -m tests.jobs.dying DSN FILE
"""

import asyncio
import sys
from pathlib import Path

from jobs.job_queue import JobQueue
from jobs.queue import Job
from jobs.worker import Worker
from storage.meter import NullMeter
from storage.postgres import Database
from tests.jobs.workshop import spawn


async def main(dsn: str, path: str) -> None:
    async def do(job: Job) -> None:
        with Path(path).open("a") as file:
            file.write(f"{job.id}\n")
        await asyncio.Event().wait()

    database = await Database.open(dsn, 2, NullMeter())
    await Worker(JobQueue(database), {"k": do}, 8, 1.0, spawn).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
