"""Passwords: hashed and checked with argon2id, off the loop, few at once.

One thread hashes on small machines, two on larger ones, and at a lower priority: a storm of sign-ins must not slow
bookings down. What would have to wait too long is refused at once.
"""

import asyncio
import contextlib
import os
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from protocol import limits
from protocol.errors import Refused, invalid

T = TypeVar("T")

_hasher: Final = PasswordHasher(
    time_cost=limits.password_hash_passes, memory_cost=limits.password_hash_kib, parallelism=1
)
_NICE: Final = 5
_MANY_CORES: Final = 4


def hash_password(password: str) -> str:
    """Takes tens of milliseconds: for the command line and tests. Raises `Refused(validation_failed)`."""
    try:
        return _hasher.hash(_one_spelling(password))
    except UnicodeEncodeError:
        raise invalid("password", "holds what is no character") from None


def _one_spelling(password: str) -> str:
    """Keyboards differ in how they compose letters; the same letters must be the same password."""
    return unicodedata.normalize("NFKC", password)


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, _one_spelling(password))
    except (Argon2Error, InvalidHashError, UnicodeEncodeError):
        return False


def _step_back() -> None:
    """Lowers the priority of the thread it runs in, where a thread has one of its own."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _too_many() -> Refused:
    return Refused("overloaded", "too many sign-ins at once", retry_after_s=limits.passwords_retry_after_s)


class Passwords:
    def __init__(self) -> None:
        threads = 1 if (os.cpu_count() or 1) < _MANY_CORES else 2
        self._threads = ThreadPoolExecutor(threads, "argon2", initializer=_step_back)
        self._waiting = 0
        # Checked for people who are not there; made before the first of them comes, so that they wait no longer.
        self._nobody = hash_password("nobody has this password")

    async def hash(self, password: str) -> str:
        return await self._run(lambda: hash_password(password))

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether it is the password. Without a hash it takes as long and is not."""
        known = password_hash is not None
        return await self._run(lambda: _matches(password_hash or self._nobody, password)) and known

    def outdated(self, password_hash: str) -> bool:
        """Whether it was made with other parameters than today's."""
        return _hasher.check_needs_rehash(password_hash)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= limits.passwords_waiting_max:
            raise _too_many()
        self._waiting += 1
        try:
            async with asyncio.timeout(limits.passwords_wait_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TimeoutError:
            raise _too_many() from None
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
