"""The command line: parse, call, print. Heavy imports wait inside the commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tiltakeval import __version__
from tiltakeval.errors import InputError, unknown

#: Exit codes: 0 done, 1 the data have errors, 2 the user's input can't be used, 130 interrupted.
OK, FINDINGS, USAGE, INTERRUPTED = 0, 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """Argument errors in the same shape as all others, with the nearest valid command."""

    def error(self, message: str) -> None:  # type: ignore[override]
        if "argument COMMAND: invalid choice" in message and "'" in message:
            given = message.split("invalid choice: '")[-1].split("'")[0]
            message = str(unknown("command", given, COMMANDS))
        raise InputError(message, remedy=f"See: {self.prog} --help")


def _run(args: argparse.Namespace) -> int:
    from tiltakeval.study import run

    written = run.run_and_write(
        args.study,
        data=args.data,
        source=args.source,
        out=args.out,
        work=args.work,
        persons=args.persons,
        seed=args.seed,
        command=args.command_line,
    )
    for path in written:
        print(path)
    return OK


def _check(args: argparse.Namespace) -> int:
    from tiltakeval.study import extract

    findings = extract.check_extract(args.extract, source=args.source)
    print(findings.text())
    return FINDINGS if findings.errors else OK


def _new_study(args: argparse.Namespace) -> int:
    from tiltakeval.study import new_study

    for path in new_study.new_study(args.slug, args.studies, level=args.level):
        print(path)
    return OK


def _synthesize(args: argparse.Namespace) -> int:
    from tiltakeval.study import synthesize

    for path in synthesize.synthesize(
        args.out,
        persons=args.persons,
        months=args.months,
        seed=args.seed,
        world=args.world,
        world_seed=args.world_seed,
        selection_observed=args.selection_observed,
        selection_unobserved=args.selection_unobserved,
        truth_persons=args.truth_persons if args.truth else None,
    ):
        print(path)
    return OK


def _estimate(args: argparse.Namespace) -> int:
    from tiltakeval.study import one_line

    result = one_line.estimate_file(args.key, args.file, one_line.settings(args.set))
    print(result.as_json() if args.json else result.as_text())
    return OK


def _estimators(_: argparse.Namespace) -> int:
    from tiltakeval.study import one_line

    print(one_line.list_estimators())
    return OK


def _programmes(args: argparse.Namespace) -> int:
    from tiltakeval.programmes import catalogue

    programmes = catalogue.load()
    for key in programmes:
        programme = programmes[key]
        states = ", ".join(programme.target_states) or "-"
        print(f"{key:45}{programme.name(args.language):60}{states}")
    return OK


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = _Parser(
        prog="tiltakeval",
        description="Evaluation of labour-market programmes, from register extract to report.",
    )
    parser.add_argument("--version", action="version", version=f"tiltakeval {__version__}")
    commands = parser.add_subparsers(dest="name", metavar="COMMAND", parser_class=_Parser)

    def command(name: str, call: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=COMMANDS[name], description=COMMANDS[name] + ".")
        added.set_defaults(call=call)
        return added

    sub = command("run", _run)
    sub.add_argument("study", help="folder of a study, or its study.toml")
    sub.add_argument(
        "--data",
        type=Path,
        help="register extract (a folder), or the file a study reads; left out: invented data",
    )
    sub.add_argument("--source", default="canonical", help="whose column names the extract has")
    sub.add_argument("--out", type=Path, default=Path("reports"), help="where reports go")
    sub.add_argument(
        "--work", type=Path, default=Path("work"), help="working folder, never released"
    )
    sub.add_argument("--persons", type=int, help="size of the invented register")
    sub.add_argument("--seed", type=int, help="seed instead of the study file's")

    sub = command("check", _check)
    sub.add_argument("extract", type=Path, help="folder of the extract")
    sub.add_argument("--source", default="canonical", help="whose column names the extract has")

    sub = command("new-study", _new_study)
    sub.add_argument("slug", help="short name: lower-case letters, digits and _")
    sub.add_argument("--studies", type=Path, default=Path("studies"), help="folder of all studies")
    sub.add_argument(
        "--level",
        default="register",
        help="register, or a prepared file: cross_section, panel, staggered, durations, event_history",
    )

    sub = command("synthesize", _synthesize)
    sub.add_argument("--out", type=Path, required=True, help="new folder for the tables")
    sub.add_argument("--persons", type=int, default=100_000)
    sub.add_argument("--months", type=int, default=120, help="months observed, from 2014-01")
    sub.add_argument("--seed", type=int, default=1, help="seed of the persons")
    sub.add_argument("--world", default="standard", help="parameters: a named world or a TOML file")
    sub.add_argument("--world-seed", type=int, help="seed of offices, business cycle and roll-out")
    sub.add_argument("--selection-observed", type=float, help="selection on what registers hold")
    sub.add_argument("--selection-unobserved", type=float, help="selection on what they don't")
    sub.add_argument("--truth", action="store_true", help="also write the true effects")
    sub.add_argument(
        "--truth-persons", type=int, default=1_000_000, help="persons the truth is computed on"
    )

    sub = command("estimate", _estimate)
    sub.add_argument("key", help="estimator: see `tiltakeval estimators`")
    sub.add_argument("file", type=Path, help="prepared data: .csv, .csv.gz, .parquet or .dta")
    sub.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="columns (treatment=, outcome=, covariates=a,b) and the estimator's options",
    )
    sub.add_argument("--json", action="store_true", help="one JSON object on standard output")

    command("estimators", _estimators)
    sub = command("programmes", _programmes)
    sub.add_argument("--language", choices=("nb", "en"), default="nb")
    return parser


COMMANDS = {
    "run": "Run a study and write its report",
    "check": "Check a register extract, without running anything",
    "new-study": "Start a new study from the template",
    "synthesize": "Write an invented register with known effects",
    "estimate": "Run one estimator on a prepared file",
    "estimators": "List the estimators and their options",
    "programmes": "List the programmes of the catalogue",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. What a user can cause never shows a traceback."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        parser = build_parser()
        args = parser.parse_args(given)
        if args.name is None:
            parser.print_help()
            return OK
        args.command_line = " ".join(["tiltakeval", *given])
        return int(args.call(args))
    except InputError as error:
        print(f"tiltakeval: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("tiltakeval: stopped. Nothing finished before was changed.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return OK


if __name__ == "__main__":
    sys.exit(main())
