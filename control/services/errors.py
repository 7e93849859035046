"""What a service refuses, as exceptions that carry the facts; the API turns them into problem documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec


class FieldError(msgspec.Struct, frozen=True, omit_defaults=True):
    """One bad field: `path` in the request's own words (`timers.pdd_ms`, `dial_strings[2]`)."""

    path: str
    reason: str
    line: int | None = None
    """Of a file: where it is wrong, counted from 1, and in which of its columns."""
    column: str = ""


class Reference(msgspec.Struct, frozen=True):
    """Something that stands in the way: `noun` and `id` lead to it in the API."""

    noun: str
    id: str
    name: str = ""


class ServiceError(Exception):
    """A refusal that the caller can do something about; `str()` is a sentence for people."""


class NotFound(ServiceError):
    def __init__(self, noun: str, noun_id: object) -> None:
        super().__init__(f"There is no {noun.replace('_', ' ')} {noun_id}.")


class Invalid(ServiceError):
    """The request breaks rules of the fields it names."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(f"{error.path}: {error.reason}".removeprefix(": ") for error in errors))
        self.errors = tuple(errors)


class Conflict(ServiceError):
    """The request is well-formed, and what is stored or running does not allow it."""

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = (), references: Sequence[Reference] = ()) -> None:
        super().__init__(detail)
        self.errors = tuple(errors)
        self.references = tuple(references)


class LostRace(ServiceError):
    """Somebody changed the row since the caller read it; `is_precondition` where `If-Match` said so."""

    def __init__(self, expected: int, current: int, *, is_precondition: bool) -> None:
        super().__init__(f"The row has changed: you read version {expected}, it is at {current} now.")
        self.is_precondition = is_precondition


class SwitchAway(ServiceError):
    """The switch process cannot be reached, and the answer is known to it alone."""

    def __init__(self, detail: str = "The switch cannot be reached.") -> None:
        super().__init__(detail)


class Throttled(ServiceError):
    """Too many wrong tries; nothing was looked at this time."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many wrong tries. Try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class MailFailed(ServiceError):
    """The mail server is not there, or does not take the mail."""


def invalid(path: str, reason: str) -> Invalid:
    return Invalid([FieldError(path, reason)])


@contextmanager
def gathered(found: list[FieldError]) -> Iterator[None]:
    """All that is wrong is said at once: whoever fills a form or a file wants to mend it in one go."""
    try:
        yield
    except Invalid as error:
        found.extend(error.errors)


@contextmanager
def named_as(place: str, names: Mapping[str, str] | None = None) -> Iterator[None]:
    """Name the fields of a refusal as the request has them: below `place`, and by the `names` that it has for them."""

    def placed(errors: tuple[FieldError, ...]) -> list[FieldError]:
        found = []
        for error in errors:
            path = (names or {}).get(error.path, error.path)
            found.append(FieldError(".".join(part for part in (place, path) if part), error.reason))
        return found

    try:
        yield
    except Invalid as error:
        raise Invalid(placed(error.errors)) from error
    except Conflict as error:
        raise Conflict(str(error), errors=placed(error.errors), references=error.references) from error
