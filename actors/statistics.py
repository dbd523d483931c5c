"""What the runtime counts. Plain integers, read by whoever exports them."""

from collections import Counter


class Statistics:
    """`commands` is by command and outcome, where the outcome is `ok` or the refusal's code."""

    __slots__ = ("activations", "commands", "guard_violations", "lost", "passivations", "replayed")

    def __init__(self) -> None:
        self.commands: Counter[tuple[str, str]] = Counter()
        self.activations = 0
        self.passivations = 0
        self.guard_violations = 0
        self.replayed = 0
        self.lost: Counter[str] = Counter()
