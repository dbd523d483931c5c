"""A node after whose bookings nothing happens: no followers, so no jobs. What following costs is measured with it."""

from jobs.queue import Follower
from server import cli, jobs


def nobody(_: jobs.Tools) -> list[Follower]:
    return []


def main() -> None:
    jobs.followers = nobody
    cli.main()


if __name__ == "__main__":
    main()
