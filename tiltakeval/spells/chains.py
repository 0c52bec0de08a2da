"""Chains (kjeding: one programme after another) and combinations (kombinasjon: at the same time).

Meld. St. 33 (2023-2024) §5.4.6 counts almost 20 % of programme courses as chains and just under
10 % as combinations.
"""

from __future__ import annotations

import ibis
from ibis.expr.types import Table

#: Months after an end within which the next start continues the chain.
MAX_GAP_MONTHS = 6


def chains(participations: Table, *, max_gap_months: int = MAX_GAP_MONTHS) -> Table:
    """Every participation taken up, placed in its chain.

    Adds to person_id, participation_id, programme, start_month, end_month: chain_no (1.. within
    person), link (1.. within chain), previous (programme begun just before in the chain, or
    missing), gap_months (months between the latest end so far and this start; negative when it
    overlaps), combined (bool: overlaps an earlier participation in another programme).

    A start within ``max_gap_months`` after the latest end of *all* earlier participations belongs
    to the same chain.
    """
    p = participations.filter(participations.begun)
    p = p.select(
        "person_id", "participation_id", "programme", "start_month", "end_month", "started_on"
    )
    order = [p.started_on, p.participation_id]
    earlier = ibis.window(group_by=p.person_id, order_by=order, rows=(None, -1))
    plain = ibis.window(group_by=p.person_id, order_by=order)
    p = p.mutate(end_before=p.end_month.max().over(earlier), before=p.programme.lag(1).over(plain))
    p = p.mutate(gap_months=p.start_month - p.end_before - 1)
    fresh = (p.end_before.isnull() | (p.gap_months > max_gap_months)).cast("int32")
    p = p.mutate(fresh=fresh)
    order = [p.started_on, p.participation_id]
    so_far = ibis.window(group_by=p.person_id, order_by=order, rows=(None, 0))
    p = p.mutate(chain_no=p.fresh.sum().over(so_far).cast("int32"))
    in_chain = ibis.window(
        group_by=[p.person_id, p.chain_no], order_by=[p.started_on, p.participation_id]
    )
    p = p.mutate(link=(ibis.row_number().over(in_chain) + 1).cast("int32"))
    first = p.link == 1
    return p.select(
        "person_id",
        "participation_id",
        "programme",
        "start_month",
        "end_month",
        "chain_no",
        "link",
        previous=first.ifelse(ibis.null("string"), p.before),
        gap_months=first.ifelse(ibis.null("int32"), p.gap_months),
        combined=(~first & (p.gap_months < 0) & (p.programme != p.before)).fill_null(False),
    )


def chain_summary(chained: Table) -> Table:
    """One row a person and chain: links, programmes in order (joined by ' > '), combined (bool)."""
    return chained.group_by("person_id", "chain_no").agg(
        links=chained.count(),
        months=(chained.end_month.max() - chained.start_month.min() + 1),
        combined=chained.combined.any(),
        first=chained.programme.min(where=chained.link == 1),
        sequence=chained.programme.group_concat(sep=" > ", order_by=chained.link),
    )
