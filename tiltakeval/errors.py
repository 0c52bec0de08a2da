"""What is wrong, where, and what to do about it: the errors a user can cause."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(Exception):
    """Something in the user's input (data, study file, option) can't be used as it is.

    ``what`` says what is wrong, ``where`` names the file, table, column or key, ``remedy`` says what
    to do. Never put a person's identifier or row in any of them.
    """

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        text = self.what if self.where is None else f"{self.where}: {self.what}"
        return text if self.remedy is None else f"{text}\n  {self.remedy}"


class InputErrors(InputError):
    """Several input errors found in one pass, reported together."""

    def __init__(self, errors: Iterable[InputError], *, title: str) -> None:
        self.errors = tuple(errors)
        self.title = title
        super().__init__(title)

    def __str__(self) -> str:
        lines = "\n".join(f"- {error}" for error in getattr(self, "errors", ()))
        return f"{self.title}\n{lines}" if lines else self.title


def counted(number: int, one: str, many: str = "") -> str:
    """``1 fault``, ``2 faults``: a number with its noun (``many``: a plural that isn't ``one`` + s)."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest in spelling to ``name``, or None when nothing is close."""
    found = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def unknown(kind: str, name: str, known: Iterable[str], *, where: str | None = None) -> InputError:
    """The error for a name that isn't in a closed list, with the nearest valid one."""
    names = sorted(known)
    guess = nearest(name, names)
    listed = ", ".join(names) if len(names) <= 20 else ", ".join(names[:20]) + ", …"
    hint = f"Did you mean '{guess}'? " if guess else ""
    return InputError(
        f"unknown {kind} '{name}'", where=where, remedy=f"{hint}Valid: {listed or '(none)'}."
    )
