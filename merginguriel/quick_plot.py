"""Draw results by a menu: asks which pictures and which locales, then draws. Flags are those of plot_results.py."""

if not __package__:
    import _checkout  # noqa: F401

from collections.abc import Callable, Sequence

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.language_arguments import locale_list
from merginguriel.utils.flags import result_flags
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser, ArgumentTypeError


def ask(question: str, read: Callable[[str], list[str]], default: str) -> list[str] | None:
    """`read(answer)` of an answer that it can read, asked for until there is one; None for q or the input's end."""
    while True:
        try:
            answer = input(f"{question} [{default}] ").strip()
        except EOFError:
            print()
            return None
        if answer.lower() in ("q", "quit", "exit"):
            return None
        try:
            return read(answer or default)
        except (InputError, ArgumentTypeError) as error:
            print(f"  {error}")


def kinds_of(answer: str, offered: list[str]) -> list[str]:
    """Kinds of pictures by number or name, in any number; the last number, or all, is all of them."""
    everything = {str(len(offered) + 1), "all"}
    names = {str(number): kind for number, kind in enumerate(offered, 1)} | {kind: kind for kind in offered}
    chosen = answer.replace(",", " ").lower().split()
    unknown = [name for name in chosen if name not in names and name not in everything]
    if unknown:
        raise InputError(f"no {unknown[0]}; type numbers from 1 to {len(offered) + 1}, or q to stop")
    return offered if everything & set(chosen) else list(dict.fromkeys(names[name] for name in chosen))


def locales_of(answer: str, there: set[str]) -> list[str]:
    """Locales by name, of those that are `there`; all is all of them."""
    if answer == "all":
        return sorted(there)
    locales = locale_list(",".join(answer.replace(",", " ").split()))
    missing = [locale for locale in locales if locale not in there]
    if missing:
        raise InputError(f"no results on {', '.join(missing)}; there are some on {', '.join(sorted(there))}")
    return locales


@command
def main(argv: Sequence[str] | None = None) -> int:
    parser = ArgumentParser("quick_plot.py", description=__doc__)
    result_flags.add_pictures(parser)
    args = parser.parse_args(argv)

    from merginguriel.utils.report import plot_command

    data, origin = plot_command.chosen_data(args)
    there = set(data.frame["locale"])
    print(data.described(origin), end="\n\n")
    offered = list(result_flags.KINDS)
    for number, (kind, shows) in enumerate((result_flags.KINDS | {"all": "all of these"}).items(), 1):
        print(f"  {number}  {kind:<10}{shows}")
    print("  q  stop\n")
    while True:
        kinds = ask("Which plots?", lambda answer: kinds_of(answer, offered), str(len(offered) + 1))
        locales = kinds and ask("Which locales?", lambda answer: locales_of(answer, there), "all")
        if not kinds or not locales:
            return 0
        print(plot_command.draw(data.only(locales), kinds, args.plots_dir, args.format), end="\n\n")


if __name__ == "__main__":
    raise SystemExit(main())
