"""World files: every number kept, changed only on purpose, errors that help."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from tiltakeval.errors import InputError
from tiltakeval.synthetic.hashing import normal, person_key, uniform
from tiltakeval.synthetic.layout import PROGRAMMES
from tiltakeval.synthetic.prepare import prepare
from tiltakeval.synthetic.world import load_world


def test_a_written_world_is_read_back_equal(world, tmp_path):
    path = tmp_path / "copy.toml"
    path.write_text(world.to_toml(), "utf-8")
    assert load_world(path) == world


def test_every_number_has_a_source_or_is_assumed(world):
    for field in dataclasses.fields(world):
        section = getattr(world, field.name)
        if dataclasses.is_dataclass(section):
            for number in dataclasses.fields(section):
                assert world.source_of(f"{field.name}.{number.name}")
    for key in PROGRAMMES:
        assert world.source_of(f"programmes.{key}") != "assumed"
    stated = {key.split(".")[1] for key in world.sources if not key.startswith("programmes")}
    known = {f.name for s in (world.persons, world.hazards, world.market, world.decisions,
                              world.pay, world.benefits) for f in dataclasses.fields(s)}  # fmt: skip
    assert stated <= known


def test_unknown_keys_name_the_nearest(world):
    with pytest.raises(InputError, match="selection_observed"):
        world.with_(selection_observd=1)
    with pytest.raises(InputError, match="hoyere_utdanning"):
        world.with_programme("hoyere_utdaning", fail=0.0)
    with pytest.raises(InputError, match="nonlinear"):
        world.with_(assignment="non-linear")
    with pytest.raises(InputError, match="standard"):
        load_world("standrad")


def test_world_seed_draws_the_offices_and_the_calendar_does_not(world):
    one, longer = prepare(world, 100), prepare(world, 160)
    assert np.array_equal(one.cond, longer.cond[:, :100])
    other = prepare(world.with_(seed=world.seed + 1), 100)
    assert not np.allclose(one.cond, other.cond)


def test_random_numbers_are_uniform_and_the_quantile_is_normal():
    keys = [np.uint64(person_key(5, i)) for i in range(400)]
    u = np.array([uniform(key, m, 3) for key in keys for m in range(10)])
    assert stats.kstest(u, "uniform").pvalue > 0.01
    grid = np.linspace(0.0005, 0.9995, 301)
    assert np.abs([normal(x) for x in grid] - stats.norm.ppf(grid)).max() < 1e-7
    assert uniform(keys[0], 3, 4) == uniform(keys[0], 3, 4) != uniform(keys[0], 3, 5)
