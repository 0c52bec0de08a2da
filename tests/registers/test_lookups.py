"""Prices and country groups."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import ibis
import pytest

from tiltakeval.engine import Engine
from tiltakeval.errors import InputError, InputErrors
from tiltakeval.registers import landgruppe, prices


def test_deflator() -> None:
    assert prices.deflator(2015, 2015) == 1.0
    assert prices.deflator(2014, 2023) == pytest.approx(129.6 / 97.9)
    there = prices.deflator(2014, 2023) * prices.deflator(2023, 2014)
    assert there == pytest.approx(1.0)
    found = prices.load()
    assert set(range(2010, 2025)) <= set(found.cpi)
    assert found.deflators(2023)[2014] == prices.deflator(2014, 2023)
    assert list(found.cpi.values()) == sorted(found.cpi.values())


def test_year_without_an_index() -> None:
    with pytest.raises(InputError, match="no consumer price index for 1990"):
        prices.deflator(1990, 2023)


def test_grunnbelop_by_date() -> None:
    found = prices.load()
    assert found.g(dt.date(2021, 4, 30)) == 101351
    assert found.g(dt.date(2021, 5, 1)) == 106399
    assert "folketrygdloven" in found.sources["grunnbelop"]
    with pytest.raises(InputError, match="no grunnbeløp in force"):
        found.g(dt.date(2000, 1, 1))


def test_own_price_file(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text("[cpi.index]\n2020 = 100\n2021 = 110\n[grunnbelop.from]\n2020-05-01 = 1\n")
    assert prices.load(path).deflator(2020, 2021) == pytest.approx(1.1)
    path.write_text("[cpi.index]\n2020 = 0\n[grunnbelop.from]\n")
    os.utime(path, (1, 1))
    with pytest.raises(InputError, match="isn't positive"):
        prices.load(path)
    with pytest.raises(InputError, match="is not a price file"):
        prices.load(tmp_path / "none.toml")


def test_landgruppe(engine: Engine) -> None:
    found = landgruppe.lookup()
    expected = {"NOR": 0, "SWE": 1, "USA": 1, "POL": 2, "SRB": 3, "SOM": 3, "JPN": 3}
    assert {c: found.group(c) for c in expected} == expected
    assert found.group("XXX") is None
    assert len(found.groups) > 240
    assert set(found.labels["nb"]) == set(found.labels["en"]) == {0, 1, 2, 3}
    table = engine.memory_table(
        ibis.memtable({"c": [*expected, "XXX", "no"]}).to_pyarrow(), "countries"
    )
    values = engine.arrow(table.select(g=found.expression(table.c)))["g"].to_pylist()
    assert values == [*expected.values(), None, None]


def test_own_lookup_and_its_faults(tmp_path: Path) -> None:
    path = tmp_path / "l.toml"
    path.write_text('version = "x"\nsource = "y"\n[groups]\n0 = ["NOR"]\n3 = ["SWE"]\n')
    assert landgruppe.lookup(path).group("SWE") == 3
    path.write_text('version = "x"\n[groups]\n0 = ["NOR"]\n3 = ["NOR", "no"]\n7 = []\n')
    with pytest.raises(InputErrors) as caught:
        landgruppe.lookup(path)
    text = str(caught.value)
    for expected in (
        "NOR is also in group 0",
        "'no' is no country code",
        "'7' is no landgruppe",
        "has no 'source'",
    ):
        assert expected in text
