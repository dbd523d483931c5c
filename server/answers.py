"""Answers to what a service asks of who books it. That required ones are there, the calendar decides."""

from collections.abc import Mapping, Sequence

from protocol.errors import Refused, invalid
from protocol.services import Question

Answers = Mapping[str, str | bool]


def answered(answers: Answers) -> tuple[str, ...]:
    """The questions that have an answer; an empty text is none."""
    return tuple(q for q, answer in answers.items() if isinstance(answer, bool) or answer.strip())


def wrong_answer(questions: Sequence[Question], answers: Answers) -> Refused | None:
    """What is wrong with the first answer that does not fit."""
    known = {q.id: q for q in questions}
    for id_, answer in answers.items():
        message = _wrong(known.get(id_), answer)
        if message:
            return invalid(f"answers.{id_[:64]}", message)
    return None


def _wrong(question: Question | None, answer: str | bool) -> str:
    if question is None:
        return "is no question of this service"
    if question.kind == "boolean":
        return "" if isinstance(answer, bool) else "must be true or false"
    if isinstance(answer, bool):
        return "must be text"
    if question.kind == "choice" and answer and answer not in question.options:
        return "must be one of the options"
    return ""
