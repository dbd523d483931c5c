"""Starts the fan-out peer that runs under Node, `node/server.js`, in place of this process."""

import os
import shutil
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "node"


def missing() -> str:
    """What keeps this peer from running and what to do about it, in one line; empty if nothing does."""
    if shutil.which("node") is None:
        return "the ws peer needs Node, and `node` is not on PATH"
    if not (FOLDER / "node_modules" / "ws").is_dir():
        return "the ws peer needs its package: run `npm ci --prefix bench/peers/node`"
    return ""


def main() -> None:
    why = missing()
    if why:
        sys.exit(why)
    os.execvp("node", ["node", str(FOLDER / "server.js"), *sys.argv[1:]])


if __name__ == "__main__":
    main()
