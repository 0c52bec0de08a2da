"""Who decides when treatment starts: what a comparison with those not yet treated needs to know.

Differences in differences compare those treated with those treated later or never. That is right only
if the start doesn't hang on the outcome. Offices, dates and lots are such starts. A person who enters a
programme while out of work isn't: who has not yet started is then more often in work already, and the
comparison is biased even where the programme does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from tiltakeval.errors import InputError, unknown

#: How treatment is given, with what each means.
ENTRIES: Mapping[str, str] = {
    "office": "an office, municipality, county or firm takes it up, for all it serves",
    "date": "a rule changes on a date, for an eligible group",
    "lot": "who starts when is drawn by lot",
    "person_while_out_of_work": "persons start while they are without a job, and not once they have one",
}
#: Entries that hang on the outcome's state.
REFUSED = ("person_while_out_of_work",)


def check_entry(entry: str | None, override: str | None = None, *, where: str) -> None:
    """Raise InputError for an entry there isn't, or one that hangs on the outcome without an
    ``override``: the reason, in words, why it is done all the same."""
    if entry is None:
        if override is not None:
            raise InputError(
                "an override overrides nothing: no entry is declared",
                where=where,
                remedy=f"Say entry = one of {', '.join(ENTRIES)}, or leave the override out.",
            )
        return
    if entry not in ENTRIES:
        raise unknown("entry", entry, ENTRIES, where=where)
    if entry not in REFUSED and override is not None:
        raise InputError(
            f"entry '{entry}' needs no override", where=where, remedy="Leave the override out."
        )
    if entry in REFUSED and not (override or "").strip():
        raise InputError(
            "who starts hangs on still being without a job, so that those not yet treated are a "
            "biased comparison, also where the programme does nothing",
            where=where,
            remedy="Use target trials (docs/target_trials.md); or say why it is right here, in "
            'override = "…": the report prints it.',
        )


def overridden(entry: str | None, override: str | None) -> str:
    """The reason given for going on with an entry that is refused, empty for others."""
    return (override or "").strip() if entry in REFUSED else ""
