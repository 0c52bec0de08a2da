import pytest

from tiltakeval.engine import connect
from tiltakeval.errors import InputError
from tiltakeval.months import parse_month
from tiltakeval.population.invented import invented_registers
from tiltakeval.programmes import catalogue
from tiltakeval.spells import build
from tiltakeval.spells.chains import chain_summary, chains
from tiltakeval.spells.outcomes import BENEFITS, OUTCOMES, benefit_months, job_months, outcome
from tiltakeval.spells.status import STATUSES, monthly_status, status_intervals

CATALOGUE = catalogue.load()
M = parse_month


@pytest.fixture
def engine():
    with connect(threads=1) as found:
        yield found


def _load(engine, persons):
    return invented_registers(engine, persons, CATALOGUE, first=M("2014-01"), last=M("2019-12"))


def test_one_status_a_month_by_priority_and_none_outside(engine):
    registers = _load(engine, [
        {"spells": ["jobseeker 2015-01-10 2015-12-01", "nedsatt_arbeidsevne 2015-11-01 2016-03-01",
                    "jobseeker 2015-02-01 2015-03-01"],
         "participation": ["amo decided 2015-04-10 start 2015-06-15 stop 2015-08-01"]},
        {"name": "nobody"},
    ])  # fmt: skip
    intervals = status_intervals(
        build.merge(registers["spells"]), build.participations(registers["participation"])
    )
    rows = engine.frame(
        monthly_status(intervals, M("2015-01"), M("2016-12")).order_by(["person_id", "month"])
    )
    assert set(rows.person_id) == {1}
    got = {m: STATUSES[s] for m, s in zip(rows.month, rows.status)}
    assert len(rows) == len(got) == 14  # 2015-01 .. 2016-02
    assert got[M("2015-01")] == "jobseeker"
    assert got[M("2015-04")] == got[M("2015-05")] == "pending"
    assert got[M("2015-06")] == got[M("2015-07")] == "programme"
    assert got[M("2015-08")] == "jobseeker"
    assert got[M("2015-11")] == got[M("2016-02")] == "nedsatt_arbeidsevne"


def test_chains_and_combinations(engine):
    registers = _load(engine, [
        {"participation": [
            "arbeidstrening decided 2015-01-02 start 2015-02-01 stop 2015-06-01",
            "lonnstilskudd_midlertidig decided 2015-07-02 start 2015-08-01 stop 2016-02-01",
            "mentor decided 2015-08-02 start 2015-09-01 stop 2015-11-01",
            "aft decided 2017-01-02 start 2017-02-01 stop 2017-06-01",
            "amo decided 2015-03-02 start 2015-04-01 noshow",
        ]},
        {"participation": ["amo decided 2015-01-02 start 2015-02-01 stop 2015-03-01"]},
    ])  # fmt: skip
    table = chains(build.participations(registers["participation"]))
    rows = engine.frame(table.order_by(["person_id", "start_month"]))
    one = rows[rows.person_id == 1]
    assert one.chain_no.tolist() == [1, 1, 1, 2]
    assert one.link.tolist() == [1, 2, 3, 1]
    assert one.gap_months.tolist()[1:3] == [2, -5]
    assert one.combined.tolist() == [False, False, True, False]
    assert one.previous.tolist()[1:3] == ["arbeidstrening", "lonnstilskudd_midlertidig"]
    summary = engine.frame(chain_summary(table).order_by(["person_id", "chain_no"]))
    assert summary.links.tolist() == [3, 1, 1]
    assert summary.sequence[0] == "arbeidstrening > lonnstilskudd_midlertidig > mentor"
    assert summary.months[0] == 12
    assert summary["first"].tolist() == ["arbeidstrening", "aft", "amo"]
    assert engine.frame(chains(build.participations(registers["participation"]),
                               max_gap_months=1)).chain_no.max() == 3  # fmt: skip


def test_which_job_months_are_subsidised(engine):
    registers = _load(engine, [
        {"name": "same employer only",
         "participation": ["lonnstilskudd_midlertidig decided 2015-01-02 start 2015-02-10 "
                           "stop 2015-04-01 employer 7"],
         "jobs": ["2015-01..2015-05 20000 employer:7", "2015-02..2015-02 5000 20% employer:8"]},
        {"name": "no employer named: any job",
         "participation": ["lonnstilskudd_midlertidig decided 2015-01-02 start 2015-02-10 "
                           "stop 2015-04-01"],
         "jobs": ["2015-03..2015-04 20000 50% employer:9", "2015-03..2015-03 10000 40% employer:8"]},
        {"name": "subsidises no wage",
         "participation": ["amo decided 2015-01-02 start 2015-02-10 stop 2015-04-01"],
         "jobs": ["2015-03..2015-03 20000"]},
        {"name": "not taken up",
         "participation": ["lonnstilskudd_midlertidig decided 2015-01-02 start 2015-02-10 noshow"],
         "jobs": ["2015-03..2015-03 20000"]},
    ])  # fmt: skip
    table = job_months(
        registers["jobs"],
        build.participations(registers["participation"]),
        subsidising=CATALOGUE.subsidised(),
        factors=None,
    )
    rows = engine.frame(table).set_index(["person_id", "month"]).sort_index()
    one = rows.loc[1]
    assert one.work_any.tolist() == [1] * 5
    assert one.work_unsubsidised.tolist() == [1, 1, 0, 1, 1]  # February: another employer too
    assert one.earnings_unsubsidised_nok.tolist() == [20000, 5000, 0, 20000, 20000]
    assert one.earnings_nok.tolist() == [20000, 25000, 20000, 20000, 20000]
    two = rows.loc[2]
    assert two.work_unsubsidised.tolist() == [0, 1]
    assert two.full_time.tolist() == [1, 0]  # 50 + 40 per cent, then 50
    assert rows.loc[(3, M("2015-03"))].work_unsubsidised == 1
    assert rows.loc[(4, M("2015-03"))].work_unsubsidised == 1


def test_benefits_and_fixed_prices(engine):
    registers = _load(engine, [
        {"benefits": ["aap 2015-01..2015-02 10000", "sosialhjelp 2015-02..2015-02 3000",
                      "uforetrygd 2016-01..2016-01 15000"]},
    ])  # fmt: skip
    factors = {2015: 1.2, 2016: 1.1}
    rows = engine.frame(benefit_months(registers["benefits"], factors=factors).order_by("month"))
    assert rows.benefits_total_nok.tolist() == [12000, 15600, 16500]
    assert rows.benefit_aap_nok.tolist() == [12000, 12000, 0]
    assert rows.uforetrygd_grade.tolist() == [0, 0, 100]
    bit = 1 << BENEFITS.index("sosialhjelp")
    assert ((rows.received & bit) > 0).tolist() == [False, True, False]


def test_outcomes_have_units_and_names_are_checked():
    assert outcome("work_unsubsidised").unit == "share"
    assert outcome("earnings_nok").money
    assert {f"benefit_{b}_nok" for b in BENEFITS} <= set(OUTCOMES)
    with pytest.raises(InputError, match="Did you mean 'earnings_nok'"):
        outcome("earning_nok")
