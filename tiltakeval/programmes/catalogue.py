"""The programme catalogue: one TOML a programme, added to by adding a file."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tiltakeval.errors import InputError, InputErrors, counted, unknown
from tiltakeval.programmes.parse import parse
from tiltakeval.programmes.programme import Code, Programme, Window

FOLDER = Path(__file__).parent / "catalogue"
UNCLAIMED = Path(__file__).parent / "unclaimed_codes.toml"
_KEY = re.compile(r"^[a-z][a-z0-9_]*$")


@dataclass(frozen=True)
class Catalogue:
    """All programmes, by key in alphabetical order.

    ``unclaimed`` holds codes known from the sources that no programme claims, with their label.
    ``fingerprint`` changes when any file does.
    """

    programmes: Mapping[str, Programme]
    unclaimed: Mapping[str, str]
    fingerprint: str
    _by_code: Mapping[str, tuple[tuple[Code, str], ...]] = field(repr=False, default_factory=dict)

    def __getitem__(self, key: str) -> Programme:
        """The programme of that key. Raises InputError with the nearest key."""
        if key not in self.programmes:
            raise unknown("programme", key, self.programmes, where="programme catalogue")
        return self.programmes[key]

    def __contains__(self, key: object) -> bool:
        return key in self.programmes

    def __iter__(self) -> Iterator[str]:
        return iter(self.programmes)

    def __len__(self) -> int:
        return len(self.programmes)

    def by_code(self, code: str, date: dt.date | None = None) -> str | None:
        """Key of the programme a code stands for on a date; None when the code is unknown.

        Without a date, the programme it stands for last.
        """
        found = self._by_code.get(code, ())
        if date is not None:
            return next((key for entry, key in found if entry.valid(date)), None)
        return found[-1][1] if found else None

    def code_rows(self) -> list[tuple[str, dt.date | None, dt.date | None, str]]:
        """(code, from, to, programme), one row a code and period; for joins."""
        rows = {
            (code, entry.start, entry.stop, key)
            for code, found in self._by_code.items()
            for entry, key in found
        }
        return sorted(rows, key=lambda r: (r[0], r[1] or dt.date.min, r[3]))

    def windows(self, *states: str) -> list[Window]:
        """Entry rules of every programme for the states (default: both base states)."""
        wanted = states or ("jobseeker", "nedsatt_arbeidsevne")
        return [w for p in self.programmes.values() for state in wanted for w in p.windows(state)]

    def subsidised(self) -> tuple[str, ...]:
        """Keys of the programmes that subsidise a wage."""
        return tuple(key for key, p in self.programmes.items() if p.subsidises_wage)


def load(extra: Path | None = None) -> Catalogue:
    """The shipped catalogue, and every ``*.toml`` in the folder ``extra``.

    A file in ``extra`` with a shipped file's name replaces it. Raises InputErrors with all faults of
    all files at once, each with file and key.
    """
    files = {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}
    if extra is not None:
        if not extra.is_dir():
            raise InputError(
                "is not a folder", where=str(extra), remedy="Give a folder of programme files."
            )
        files.update({path.stem: path for path in sorted(extra.glob("*.toml"))})
    faults: list[InputError] = []
    programmes: dict[str, Programme] = {}
    digest = hashlib.blake2b(digest_size=16)
    for key in sorted(files):
        data = files[key].read_bytes()
        digest.update(key.encode() + b"\0" + data + b"\0")
        if not _KEY.match(key):
            faults.append(
                InputError(
                    "the file name is no key",
                    where=files[key].name,
                    remedy="Use lower-case ASCII letters, digits and underscores.",
                )
            )
            continue
        try:
            values = tomllib.loads(data.decode("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            faults.append(
                InputError(
                    f"can't be read as TOML: {error}",
                    where=files[key].name,
                    remedy="Correct the file; it must be UTF-8.",
                )
            )
            continue
        programmes[key] = parse(key, values, files[key].name, faults)
    by_code = _index(programmes, faults)
    _check_links(programmes, faults)
    if faults:
        raise InputErrors(
            faults, title=f"The programme catalogue has {counted(len(faults), 'fault')}."
        )
    unclaimed_text = UNCLAIMED.read_bytes()
    digest.update(unclaimed_text)
    labels: dict[str, str] = tomllib.loads(unclaimed_text.decode("utf-8"))["labels"]
    unclaimed = {code: label for code, label in labels.items() if code not in by_code}
    return Catalogue(programmes, unclaimed, digest.hexdigest(), by_code)


def _index(
    programmes: Mapping[str, Programme], faults: list[InputError]
) -> dict[str, tuple[tuple[Code, str], ...]]:
    """Code -> (period, programme) in order of time; two programmes at one date is a fault."""
    found: dict[str, list[tuple[Code, str]]] = {}
    for key, programme in programmes.items():
        for code in programme.codes:
            found.setdefault(code.code, []).append((code, key))
    for code_text, entries in found.items():
        entries.sort(key=lambda e: (e[0].start or dt.date.min, e[1]))
        for number, (first, key) in enumerate(entries):
            for second, other in entries[number + 1 :]:
                stop, start = first.stop or dt.date.max, second.start or dt.date.min
                if other != key and start < stop:
                    faults.append(
                        InputError(
                            f"code '{code_text}' also belongs to {other} at the same time",
                            where=f"{key}.toml: codes",
                            remedy="Take it out of one file, or give both 'from'/'to' dates.",
                        )
                    )
    return {code: tuple(entries) for code, entries in found.items()}


def _check_links(programmes: Mapping[str, Programme], faults: list[InputError]) -> None:
    for key, programme in programmes.items():
        for kind, others, back in (
            ("predecessors", programme.predecessors, "successors"),
            ("successors", programme.successors, "predecessors"),
        ):
            for other in others:
                where = f"{key}.toml: availability.{kind}"
                if other not in programmes:
                    faults.append(unknown("programme", other, programmes, where=where))
                elif key not in getattr(programmes[other], back):
                    faults.append(
                        InputError(
                            f"names {other}, which doesn't name it back",
                            where=where,
                            remedy=f"Add '{key}' to {back} in {other}.toml.",
                        )
                    )
