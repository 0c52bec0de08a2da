"""Invented report material: four programmes, four outcomes, two base populations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tiltakeval.disclosure.release import release_attrition, release_checks, release_estimates
from tiltakeval.estimates.attrition import Attrition
from tiltakeval.estimates.check import Check
from tiltakeval.estimates.combine import with_bands, with_inference
from tiltakeval.estimates.inference import Influence
from tiltakeval.estimates.lockin import lock_in
from tiltakeval.estimates.table import Estimates, tidy
from tiltakeval.report.material import ReportMaterial

PROGRAMMES = {
    "aft": (-0.10, 14.0, 0.06),
    "lonnstilskudd_midlertidig": (0.02, 8.0, 0.12),
    "amo": (-0.04, 6.0, 0.03),
    "hoyere_utdanning": (-0.16, 26.0, 0.04),
}
OUTCOMES = {"work_unsubsidised": "share", "earnings_nok": "nok", "benefits_total_nok": "nok",
            "full_time": "share"}  # fmt: skip
SUBGROUPS = ("sex=female", "sex=male", "age_band=18-29", "age_band=30-49", "age_band=50-66",
             "landgruppe=0", "landgruppe=1", "landgruppe=3")  # fmt: skip
COVARIATES = ("age", "sex=female", "months_worked_12", "months_worked_36", "earnings_12",
              "aap_12", "education=grunnskole", "registered_months", "unemployment_rate")  # fmt: skip


def profile(shape: tuple[float, float, float], months: np.ndarray) -> np.ndarray:
    """A dip that fades and a gain that stays."""
    dip, length, gain = shape
    fall = dip * np.clip(1 - months / length, 0, 1)
    return np.where(months < 0, 0.0, fall + gain / (1 + np.exp(-(months - length) / 3)))


def effects(seed: int = 1, small: bool = False, horizon: int = 36) -> Estimates:
    """Effects, placebo months and means with influence, for every cell."""
    rng = np.random.default_rng(seed)
    months = np.arange(-12, horizon + 1)
    groups = 60
    rows: list[dict[str, Any]] = []
    columns: list[np.ndarray] = []
    for population in ("nedsatt_arbeidsevne", "jobseeker"):
        for programme, shape in PROGRAMMES.items():
            if population == "jobseeker" and programme in ("aft", "hoyere_utdanning"):
                continue
            for outcome, unit in OUTCOMES.items():
                scale = {"share": 1.0, "nok": 30_000.0}[unit]
                scale = -0.5 * scale if outcome == "benefits_total_nok" else scale
                for subgroup in ("all", *SUBGROUPS):
                    size = 4_000 if subgroup == "all" else 1_200
                    if small and subgroup == "landgruppe=1":
                        size = 3
                    if subgroup == "landgruppe=3":
                        size = 900
                    noise = np.cumsum(rng.normal(size=months.size)) / 9
                    factor = 1.0 if subgroup == "all" else 1 + 0.4 * rng.normal()
                    true = profile(shape, months) * scale * factor
                    error = abs(scale) * 0.5 / np.sqrt(size)
                    common = rng.normal(size=(groups, 1))
                    z = 0.8 * common + 0.6 * rng.normal(size=(groups, months.size))
                    z = z - z.mean(axis=0)
                    z = z / np.sqrt((z**2).sum(axis=0)) * error
                    for i, month in enumerate(months):
                        rows.append({
                            "study": "demo", "analysis": "aipw", "population": population,
                            "estimand": "now_vs_wait", "programme": programme,
                            "subgroup": subgroup, "outcome": outcome, "unit": unit,
                            "time_origin": "vedtak", "horizon": int(month),
                            "term": "placebo" if month < 0 else "effect",
                            "estimate": true[i] + error * noise[i],
                            "n_treated": size - 7 * max(int(month), 0) if size > 100 else size,
                            "n_comparison": size * 9 - 60 * max(int(month), 0)
                            if size > 100 else size * 9,
                            "source": "invented",
                        })  # fmt: skip
                    columns.append(z)
    stacked = np.hstack(columns)
    influence = Influence("invented", "person", groups, {"all": stacked},
                          {"all": np.arange(len(rows))})  # fmt: skip
    return with_bands(with_inference(tidy(rows), influence), draws=199)


def curves(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Cumulative incidence by arm, programmes and the arm without."""
    rows = []
    arms = {**PROGRAMMES, "none": (0.0, 10.0, 0.0)}
    for outcome, top in (("exit_work", 0.5), ("exit_uforetrygd", 0.2)):
        for programme, (dip, length, gain) in arms.items():
            for month in range(37):
                value = (top + gain + dip / 4) * (1 - np.exp(-month / (20 + length / 4)))
                rows.append({
                    "study": "demo", "analysis": "aalen_johansen", "population":
                    "nedsatt_arbeidsevne", "estimand": "vs_no_programme", "programme":
                    programme, "outcome": outcome, "unit": "share", "time_origin": "vedtak",
                    "horizon": month, "term": "cumulative_incidence", "estimate": value,
                    "conf_low": value * 0.95, "conf_high": value * 1.05,
                    "n_treated": 4000, "source": "lifelines",
                })  # fmt: skip
    return rows


def contrasts() -> list[dict[str, Any]]:
    """Temporary wage subsidy against AFT and AMO on the common population."""
    rows = []
    for other in ("aft", "amo"):
        for outcome, unit in OUTCOMES.items():
            scale = {"share": 1.0, "nok": 30_000.0}[unit]
            for month in range(37):
                value = 0.08 * scale * np.tanh((month + 6) / 12)
                half = 0.03 * scale
                rows.append({
                    "study": "demo", "analysis": "aipw", "population":
                    "nedsatt_arbeidsevne/common", "estimand": "vs_programme_b", "programme":
                    "lonnstilskudd_midlertidig", "comparator": other, "outcome": outcome,
                    "unit": unit, "time_origin": "vedtak", "horizon": month, "term": "effect",
                    "estimate": value, "std_error": half / 1.96, "conf_low": value - half,
                    "conf_high": value + half, "band_low": value - 1.5 * half,
                    "band_high": value + 1.5 * half, "n_treated": 2500, "n_comparison": 2600,
                    "source": "invented",
                })  # fmt: skip
    return rows


def checks(small: bool = False) -> list[Check]:
    """Checks of every kind the report knows."""
    rng = np.random.default_rng(3)
    out = []
    for programme in PROGRAMMES:
        before = rng.normal(0, 0.25, len(COVARIATES))
        detail = pd.DataFrame({"covariate": COVARIATES, "difference_before": before,
                               "difference_after": before * 0.1})  # fmt: skip
        scope = {"population": "nedsatt_arbeidsevne", "programme": programme}
        out.append(Check(key="balance", status="passed", scope=scope, threshold=0.1,
                         statistic=float(np.abs(before * 0.1).max()), detail=detail))  # fmt: skip
        out.append(Check(key="overlap", status="passed", scope=scope, statistic=0.012,
                         threshold=0.05))  # fmt: skip
    few = 2 if small else 40
    bins = pd.DataFrame({"bin": ["0-0.1", "0.1-0.2", "0.2-1"], "n_treated": [900, 80, few],
                         "n_comparison": [30_000, 900, 60]})  # fmt: skip
    out.append(Check(key="overlap", status="informative", detail=bins,
                     counts=("n_treated", "n_comparison"),
                     scope={"population": "jobseeker", "programme": "amo"}))  # fmt: skip
    out.append(Check(key="placebo", status="failed", statistic=0.013, threshold=0.05,
                     scope={"population": "jobseeker", "programme": "amo"}))  # fmt: skip
    out.append(Check(key="hidden_selection", status="informative", statistic=0.42,
                     scope={"population": "jobseeker", "programme": "amo"}))  # fmt: skip
    return out


def attrition(small: bool = False) -> Attrition:
    """Filters of both base populations."""
    steps = (
        "register",
        "registered",
        "age",
        "alive",
        "no_earlier_decision",
        "legally_eligible",
        "analysed",
    )
    parts = []
    for population, start in (("nedsatt_arbeidsevne", 212_000), ("jobseeker", 64_000)):
        removed = (0, 12_345, 800, 2 if small else 120, 5_000, 3_000, 1_500)
        left = start - np.cumsum(removed)
        parts.append(Attrition.of(population, [
            (step, int(n), int(n * 5) if i > 3 else None) for i, (step, n) in enumerate(zip(steps, left))
        ]))  # fmt: skip
    return Attrition.concat(parts)


def truth() -> Estimates:
    """Known effects of the invented profiles."""
    months = np.arange(0, 37)
    rows = []
    for population in ("nedsatt_arbeidsevne", "jobseeker"):
        for programme, shape in PROGRAMMES.items():
            values = profile(shape, months)
            for term, path, unit in (("effect", values, "share"),
                                     ("cumulated_path", np.cumsum(values), "months")):  # fmt: skip
                rows += [{"study": "truth", "analysis": "truth", "population": population,
                          "estimand": "now_vs_wait", "programme": programme, "outcome":
                          "work_unsubsidised", "unit": unit, "time_origin": "vedtak", "horizon": int(m),
                          "term": term, "estimate": v, "source": "truth"}
                         for m, v in zip(months, path)]  # fmt: skip
    return Estimates(tidy(rows))


def raw(seed: int = 1, small: bool = False) -> Estimates:
    """All estimates of the invented study, not yet released."""
    own = effects(seed, small)
    more = Estimates(tidy(curves(np.random.default_rng(seed)) + contrasts()))
    locked = lock_in(
        own, outcomes=("work_unsubsidised", "earnings_nok", "benefits_total_nok"), draws=199
    )
    return Estimates.concat([own, locked, more])


def material(
    seed: int = 1, small: bool = False, rules: str = "nav", **changes: Any
) -> ReportMaterial:
    """Everything for a report on four programmes."""
    fields: dict[str, Any] = {
        "slug": "demo",
        "title": {"nb": "Fire arbeidsmarkedstiltak: hva gjør de med arbeid, lønn og ytelser?",
                  "en": "Four programmes: what do they do to work, earnings and benefits?"},
        "question": {"nb": "Hva gjør AFT, lønnstilskudd, opplæring og utdanning med arbeid, lønn "
                           "og ytelser, måned for måned, og for hvem?",
                     "en": "What do AFT, temporary wage subsidies, training and education do to work, "
                           "earnings and benefits, month by month, and for whom?"},
        "estimates": release_estimates(raw(seed, small), rules),
        "checks": release_checks(checks(small), rules),
        "attrition": release_attrition(attrition(small), rules),
        "truth": release_estimates(truth(), rules, uncounted="allow"),
        "programmes": {key: {} for key in PROGRAMMES},
        "outcomes": {key: {} for key in OUTCOMES},
        "labels": {"age_band=18-29": {"nb": "alder: 18–29", "en": "age: 18–29"},
                   "exit_work": {"nb": "ut i arbeid", "en": "left for work"},
                   "exit_uforetrygd": {"nb": "ut på uføretrygd", "en": "left for disability benefit"}},
        "primary_estimand": "now_vs_wait",
        "primary_outcome": "work_unsubsidised",
        "spec": {"register": "synthetic:standard", "entry": ["2016-01", "2019-12"], "ages": [18, 66],
                 "time_origin": "vedtak", "horizon": 36, "cluster": "person", "price_year": 2023,
                 "estimator": "aipw_att", "covariates": list(COVARIATES),
                 "thresholds": {"balance_smd": 0.1, "placebo_level": 0.05}},
        "manifest": {"spec_hash": "3f" * 32, "seed": 20240601, "command": "tiltakeval run demo",
                     "versions": {"tiltakeval": "0.1.0", "python": "3.11"}},
        "synthetic": True,
    }  # fmt: skip
    return ReportMaterial(**{**fields, **changes})


def nsw_material(**changes: Any) -> ReportMaterial:
    """A study with one outcome date: experiment, adjusted comparison, published figures."""
    rows = [
        ("experiment", "itt_offer", 1794.34, 671.0, 185, 260),
        ("aipw_cps", "vs_comparison", 1411.2, 655.5, 185, 15_992),
    ]
    own = [{"study": "nsw", "analysis": a, "population": "nsw", "estimand": e, "programme": "training",
            "outcome": "re78", "unit": "usd", "term": "effect", "estimate": x, "std_error": s,
            "conf_low": x - 1.96 * s, "conf_high": x + 1.96 * s, "n_treated": t, "n_comparison": c,
            "source": "invented"} for a, e, x, s, t, c in rows]  # fmt: skip
    published = [{"study": "published", "analysis": "experiment", "population": "nsw", "estimand":
                  "itt_offer", "programme": "training", "outcome": "re78", "unit": "usd",
                  "estimate": 1794.0, "std_error": 633.0, "source": "Dehejia 1999"}]  # fmt: skip
    fields: dict[str, Any] = {
        "slug": "nsw",
        "title": {"nb": "NSW: finner justert sammenligning forsøkets svar?",
                  "en": "NSW: does an adjusted comparison find the experiment's answer?"},
        "question": {"nb": "Hva gjorde opplæringen med inntekten i 1978?",
                     "en": "What did the training do to earnings in 1978?"},
        "estimates": release_estimates(Estimates(tidy(own)), "nav"),
        "checks": release_checks([], "nav"),
        "attrition": release_attrition(Attrition(), "nav"),
        "published": release_estimates(Estimates(tidy(published)), "nav", uncounted="allow"),
        "labels": {"re78": {"nb": "årsinntekt 1978", "en": "yearly earnings 1978"},
                   "aipw_cps": {"nb": "AIPW mot CPS", "en": "AIPW against CPS"}},
        "primary_outcome": "re78",
    }  # fmt: skip
    return ReportMaterial(**{**fields, **changes})


def material_of(estimates: Any, checks_: Any, attrition_: Any) -> ReportMaterial:
    """A report of the given released parts and nothing else."""
    texts = {"nb": "Prøve", "en": "Trial"}
    return ReportMaterial(slug="t", title=texts, question=texts, estimates=estimates, checks=checks_,
                          attrition=attrition_)  # fmt: skip
