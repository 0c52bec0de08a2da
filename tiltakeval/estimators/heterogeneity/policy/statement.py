"""What a rule is, what it isn't, and what must be in place before one is used on people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tiltakeval.errors import unknown

Language = Literal["nb", "en"]
LABEL = {"nb": "Beslutningsstøtte", "en": "Decision support"}
#: What is asked for, in order; a report may list them one by one.
NEEDS: dict[str, tuple[tuple[str, str], ...]] = {
    "nb": (
        (
            "Rettslig grunnlag",
            "behandlingen av personopplysninger og bruken i saksbehandling må ha hjemmel, og "
            "personvernkonsekvensene må være vurdert. Helt automatiserte avgjørelser krever "
            "egen hjemmel.",
        ),
        (
            "Randomisert utprøving",
            "regelen prøves mot dagens praksis ved loddtrekning der veilederen mener at "
            "tiltakene er "
            "likeverdige. Anslagene her forutsetter at alt som styrte valget av tiltak, er "
            "observert.",
        ),
        (
            "Pilot",
            "i få kontorer først: blir plassene brukt, følger veilederne rådet, og når de "
            "avviker, hvorfor?",
        ),
        (
            "Begrunnelse og klage",
            "den det gjelder, må få vite at rådet finnes, hva det bygger på, og kunne imøtegå det. "
            "Veilederen avgjør.",
        ),
        (
            "Likebehandling",
            "hvem som vinner og taper plasser etter kjønn, landgruppe og alder, er vurdert "
            "før bruk, også "
            "for kjennetegn som regelen ikke ser.",
        ),
        (
            "Oppfølging",
            "effekter, andeler og avvik følges i drift, med en fastsatt grense for når "
            "regelen trekkes "
            "tilbake. Regler, priser og arbeidsmarked endrer seg.",
        ),
        (
            "Det regnestykket ikke ser",
            "fortrengning, ventetid, leverandørers kapasitet på kort sikt, behov og ønsker "
            "som ikke er "
            "registrert. Et tiltak kan ha andre mål enn arbeid.",
        ),
    ),
    "en": (
        (
            "Legal basis",
            "processing the data and using the rule in casework need a basis in law, with an "
            "assessment of "
            "consequences for privacy. Fully automated decisions need one of their own.",
        ),
        (
            "Randomised test",
            "the rule is tried against today's practice by lot where the counsellor finds "
            "the programmes "
            "equivalent. The figures here assume that all that steered who got what is observed.",
        ),
        (
            "Pilot",
            "in a few offices first: are places filled, do counsellors follow the advice, "
            "and why not?",
        ),
        (
            "Reasons and appeal",
            "the person concerned is told that there is advice and what it rests on, and can "
            "contest it. "
            "The counsellor decides.",
        ),
        (
            "Equal treatment",
            "who gains and loses places by sex, country group and age has been judged before "
            "use, also for "
            "traits that the rule doesn't see.",
        ),
        (
            "Monitoring",
            "effects, shares and departures are followed in use, with a limit set in advance "
            "at which the "
            "rule is withdrawn. Regulations, prices and the labour market change.",
        ),
        (
            "What the sum leaves out",
            "displacement, waiting time, what suppliers can do at short notice, needs and "
            "wishes that aren't "
            "recorded. A programme may have other aims than work.",
        ),
    ),
}
_OPENING = {
    "nb": "{label}. Regelen er beregnet på tidligere deltakere og er ikke et vedtak eller "
    "et råd om en "
    "enkelt person. Før den kan brukes på mennesker, må dette være på plass:",
    "en": "{label}. The rule was computed from earlier participants; it is no decision and "
    "no advice about "
    "any one person. Before it may be used on people, this must be in place:",
}
_FAIR = {
    "nb": "Regelen bruker {names} direkte i fordelingen av plasser. Det krever et eget "
    "rettslig grunnlag.",
    "en": "The rule uses {names} directly in dealing places. That needs a legal basis of its own.",
}


def needed_before_use(language: Language = "nb", *, uses: Sequence[str] = ()) -> str:
    """The statement in bokmål or English, a line for each thing that is needed.

    ``uses`` names protected traits that the rule looks at directly. Raises InputError for a language
    there is none in.
    """
    if language not in NEEDS:
        raise unknown("language", str(language), NEEDS)
    lines = [_OPENING[language].format(label=LABEL[language])]
    lines += [f"- {title}: {text}" for title, text in NEEDS[language]]
    if uses:
        lines.append("- " + _FAIR[language].format(names=", ".join(uses)))
    return "\n".join(lines)
