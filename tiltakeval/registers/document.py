"""The page on register tables: the schema, the shipped sources, how to map a supplier."""

from __future__ import annotations

import sys

from tiltakeval.registers import source as register_source
from tiltakeval.registers.schema import Schema, load

_HEAD = """# Register tables

Everything downstream sees these tables and no others. They are declared once, in
`tiltakeval/registers/schema.toml`: the declaration checks an extract, makes invented tables for
tests, and writes this page (`python -m tiltakeval.registers.document > docs/registers.md`).

- **Periods are half-open**: the end is the first day no longer covered; an open end is missing.
- **Months** are whole numbers, `year * 12 + month - 1`.
- **Kroner** are whole and nominal. `prices.toml` holds the index that makes them real.
- **Missing is not zero**: `last_observed` says which months each table covers.
- **Sensitivity** says what a column could give away: `identifier` never leaves the engine.

## Check an extract

```
tiltakeval check EXTRACT
```

reads the folder as far as it can be read and runs every rule in `registers/quality.py`. Errors make the
extract unfit for use; warnings are for you to judge. Counts under five are shown as `<5`, and no
message holds a key or row of a person.

## Map a supplier

A supplier is a TOML file. Shipped: {sources}. To make your own, copy
`tiltakeval/registers/sources/arena.toml`, correct it, and give its path wherever a source is named.
All mistakes in it are reported at once.

| Key | Says |
|---|---|
| `end_date` | `"inclusive"` if an end is the last day, `"exclusive"` if it is the first day after |
| `open_end_from` | ends on or after this date (say 9999-12-31) are open |
| `[csv]` | `delimiter`, `decimal` and `encoding` of text files |
| `[tables.NAME] file` | file names to look for, the first found is used; `*` takes several as one |
| `joins` | files whose columns are joined on by a column both have |
| `required = false` | the table may be absent; it is then empty, and said to be so |
| `derive = true` | only `last_observed`: worked out from the months seen, or `[coverage]` |
| `[tables.NAME.columns]` | one line a column, see below |
| `[status]` | named sets of participation statuses |
| `[started.RULE]` | which sets count as taken up, and whether a start date is needed |

A column is the supplier's name, or a table of:

| Key | Says |
|---|---|
| `column` | the name (capitals don't matter) |
| `pattern` | a regular expression for the whole name, for keys with a delivery number |
| `constant` | the same value in all rows |
| `optional = true` | missing when the file doesn't have it |
| `codes` | the supplier's values to levels; values not listed are kept and reported; `""` is no level |
| `date_format` | as in `strptime`, where dates are not ISO |
| `month` | `index`, `yyyymm`, `yyyy-mm` or `date` |
| `key = "text"` | a text key, turned into a number by a portable hash |
| `end` | the end convention of this column, where it differs |

Columns whose own type fits are read as they are. Text that can't be read as the column's type becomes
missing and is an error of `check`. A programme code nobody knows is kept in `code`, has no programme,
and is counted. `write_registers` writes canonical tables in a supplier's layout; a test holds that
reading them again gives the same tables.

## Tables

"""


def markdown(schema: Schema | None = None) -> str:
    """The page."""
    sources = ", ".join(
        f"`{name}` ({register_source.load(name).meaning.rstrip('.')})"
        for name in register_source.shipped()
    )
    return _HEAD.replace("{sources}", sources) + (schema or load()).markdown()


if __name__ == "__main__":
    sys.stdout.write(markdown())
