"""Progress bars of a run: on a terminal only, because elsewhere the lines that are said tell as much."""

import contextlib
from collections.abc import Callable, Generator

from rich import progress
from rich.console import Console


class Progress:
    """One bar over all scenarios, and one over the steps of the part that runs now."""

    def __init__(self, console: Console) -> None:
        self._bars = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[now]}", style="dim", markup=False),
            progress.TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            # The bars share the machine with what is measured.
            refresh_per_second=2,
        )
        self._bars.start()

    @contextlib.contextmanager
    def steps(self, what: str, total: int) -> Generator[Callable[[str], None], None, None]:
        """A bar for a part of known length; call what it gives with the name of each step when it begins."""
        task = self._bars.add_task(what, total=total, now="")
        begun = 0

        def step(name: str) -> None:
            nonlocal begun
            self._bars.update(task, completed=begun, now=name)
            begun += 1

        try:
            yield step
        finally:
            self._bars.remove_task(task)

    def stop(self) -> None:
        self._bars.stop()
