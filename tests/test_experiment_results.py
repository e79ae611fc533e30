"""What docs/results/languages holds: every number is computed anew from who answered what on which item."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from merginguriel.utils.similarity.transfer import read_csv

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "experiments"))
import answer  # noqa: E402
import picture  # noqa: E402
import ways  # noqa: E402
from kept import read_array  # noqa: E402

PUBLISHED = ROOT / "docs/results/languages"
PAGES = tuple(
    ROOT / f"docs/{page}.md" for page in ("results", "experiment", "adaptation", "methods", "label-free", "which-way")
)
ROUNDING = 2e-6  # what the last bits of a BLAS may make of an interval


def test_every_number_is_that_of_the_answers(tmp_path):
    names = ("means", "comparisons", "targets", "side_by_side")
    shutil.copytree(
        PUBLISHED, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*(f"{name}.csv" for name in names))
    )
    answer.main([str(tmp_path)])
    for name in names:
        found, published = answer.read_rows(tmp_path / f"{name}.csv"), answer.read_rows(PUBLISHED / f"{name}.csv")
        assert len(found) == len(published) > 0
        for row, told in zip(found, published):
            assert row.keys() == told.keys()
            for column, value in told.items():
                if re.fullmatch(r"-?\d+\.\d+(e-\d+)?", value):
                    some = ROUNDING * (100 if "points" in column else 1)
                    assert float(row[column]) == pytest.approx(float(value), abs=some, rel=0.01), (told, column)
                else:
                    assert row[column] == value, (told, column)


def test_growth_is_on_the_targets_that_all_lines_have():
    """By plain loops, of what adapted on fewer texts."""
    labels = read_array(PUBLISHED / "massive_labels.npy.xz")
    answers = read_array(PUBLISHED / "massive_42/results.npy.xz")
    found: dict[int, dict[str, float]] = {}
    for row, of in zip(answer.read_rows(PUBLISHED / "massive_42/results.csv"), answers):
        if (row["mode"], row["selection"], row["number"]) == ("regmean", "consensus", "5") and row["rounds"] in (
            "0",
            "2",
        ):
            texts = int(row["examples"]) or 11514 if row["rounds"] == "2" else 0
            found.setdefault(texts, {})[row["target"]] = float((of == labels).mean())
    targets = set.intersection(*(set(of) for of in found.values()))
    rows = [row for row in answer.read_rows(PUBLISHED / "side_by_side.csv") if row["table"] == "texts"]
    lines = [int(row["at"]) for row in rows]
    assert lines == sorted(found) == [0, 100, 1000, 11514] and len(targets) == 49
    means = [sum(found[line][target] for target in targets) / len(targets) for line in lines]
    for row, accuracy in zip(rows, means):
        assert row["targets"] == str(len(targets)) and float(row["accuracy"]) == pytest.approx(accuracy, abs=6e-5)
        assert float(row["points"] or 0) == pytest.approx(100 * (accuracy - means[0]), abs=6e-5)


def test_better_settings_and_those_who_chose_stand_side_by_side():
    """By plain loops: better settings have seed 42 and all targets, the adapted merge both seeds."""
    labels, found = read_array(PUBLISHED / "massive_labels.npy.xz"), {}
    for seed in ("42", "43"):
        answers = read_array(PUBLISHED / f"massive_{seed}/results.npy.xz")
        for row, of in zip(answer.read_rows(PUBLISHED / f"massive_{seed}/results.csv"), answers):
            key = row["part"], row["mode"], row["selection"], row["number"], row["rounds"], seed
            found.setdefault(key, {})[row["target"]] = float((of == labels).mean())

    def gains(one, other, seeds, counts=lambda target: True):
        both = [(found[(*one, seed)], found[(*other, seed)]) for seed in seeds]
        targets = sorted(filter(counts, both[0][0]))
        return [sum(of[target] - than[target] for of, than in both) / len(both) for target in targets]

    rows = answer.read_rows(PUBLISHED / "side_by_side.csv")
    better = [row for row in rows if row["table"] == "better" and row["points"]]
    assert {"ties", "dare_ties", "regmean"} <= {row["at"] for row in better}
    expected = {
        id(row): gains(("better", row["at"], "cosine", "5", "0"), ("results", "average", "cosine", "5", "0"), ["42"])
        for row in better
    }
    usual = [
        row for row in rows if row["table"] == "methods" and ("methods", row["at"], "cosine", "5", "0", "42") in found
    ]
    assert len(usual) == 15
    for row in usual:
        one, other = ("methods", row["at"], "cosine", "5", "0"), ("results", "average", "cosine", "5", "0")
        expected[id(row)] = gains(one, other, ["42"])
    apart = [row for row in rows if row["table"] in ("others", "chose") and row["at"] == "vote of the same"]
    for row in apart:
        one, other = (
            (part, mode, row["by"], "5", rounds)
            for part, mode, rounds in (("results", "regmean", "2"), ("votes", "ensemble_soft", "0"))
        )
        chose = row["table"] == "chose"
        counts = lambda target, chose=chose: (target in ways.CHOSE_DEFAULTS) == chose  # noqa: E731
        expected[id(row)] = gains(one, other, ["42", "43"], counts)
    assert len(apart) == 4
    for row in better + usual + apart:
        of = expected[id(row)]
        assert len(of) == int(row["targets"]) and int(row["above"]) == sum(gain > 1e-12 for gain in of)
        assert float(row["points"]) == pytest.approx(100 * sum(of) / len(of), abs=6e-5)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tables_of_the_pages_are_those_of_the_numbers(page, tmp_path):
    copy = shutil.copy(page, tmp_path)
    answer.fill(Path(copy), answer.parts_of(answer.Tables(PUBLISHED)))
    assert Path(copy).read_text(encoding="utf-8") == page.read_text(encoding="utf-8")
    assert "<!-- end -->" in page.read_text(encoding="utf-8")


def way(how, by="", number=1, rounds=0, corpus="massive"):
    wanted = {"corpus": corpus, "how": how, "by": by, "number": str(number), "rounds": str(rounds), "examples": "0"}
    return lambda row: wanted.items() <= row.items()


def mean(*chosen, **more) -> str:
    return f"{float(next(filter(way(*chosen, **more), answer.read_rows(PUBLISHED / 'means.csv')))['accuracy']):.3f}"


def compared(baseline, *chosen, **more) -> dict[str, str]:
    rows = filter(way(*chosen, **more), answer.read_rows(PUBLISHED / "comparisons.csv"))
    return next(row for row in rows if row["baseline"] == baseline)


def words(page: str) -> str:
    return " ".join((ROOT / page).read_text(encoding="utf-8").split())


def points(row, name="gain") -> str:
    return f"{100 * float(row[name]):.1f}"


ADAPTED = ("regmean", "cosine", 5, 2)


def test_the_readme_tells_these_numbers():
    readme = words("README.md")
    all_models, vote = (compared(one, *ADAPTED) for one in ("best of all", "vote of the same"))
    assert (
        f"accuracy {mean(*ADAPTED)}, mean of 49 languages: {points(all_models)} points above the best of all 48"
        in readme
    )
    assert f"and {points(vote)} above the vote of five; each on 49 of 49" in readme
    assert {(row["above"], row["targets"]) for row in (all_models, vote)} == {("49", "49")}
    intervals = [f"{points(row, 'low')} to {points(row, 'high')}" for row in (all_models, vote)]
    assert f"intervals {' and '.join(intervals)} over" in readme and f"have {mean('own model')}" in readme
    for told, chosen in (
        (
            "average beat the best of the five by {} points on average (95 % interval {} to {})",
            ("average", "cosine", 5),
        ),
        ("by {} ({} to {}), and adapted", ("regmean", "cosine", 5)),
        ("adapted to all its texts by {} ({} to {})", ("regmean", "cosine", 5, 2)),
        ("soft vote gains {} ({} to {})", ("vote_soft", "cosine", 5)),
    ):
        row = compared("best of its sources", *chosen)
        assert told.format(*(points(row, name) for name in ("gain", "low", "high"))) in readme


def test_the_results_tell_these_numbers():
    text = words("docs/results.md")
    by_consensus, average, vote = ("regmean", "consensus", 5, 2), ("average", "cosine", 5), ("vote_soft", "cosine", 5)
    assert f"has {mean(*ADAPTED)} (five sources by URIEL's cosine) or {mean(*by_consensus)} (by consensus)" in text
    for chosen in (ADAPTED, by_consensus):
        for baseline in ("best of all", "best of its sources", "vote of the same"):
            assert compared(baseline, *chosen)["above"] == "49"
    closed = next(filter(way(*ADAPTED), answer.read_rows(PUBLISHED / "means.csv")))["gap_closed"]
    assert f"closes {100 * float(closed):.0f} % of the gap" in text
    assert f"{mean(*vote)} and {mean(*average)}, where the best of all 48 has {mean('best source', 'all', 48)}" in text
    by_matrix, by_labels = (compared("the same by URIEL's cosine", "average", by, 5) for by in ("sinkhorn", "real"))
    lost, gained = points(by_matrix).removeprefix("-"), points(by_labels)
    assert f"an average gains {lost} points; by 2,033 labels of the target {gained} more" in text
    assert f"+{gained} points [{points(by_labels, 'low')}, {points(by_labels, 'high')}] by validation items" in text
    equal = {by: compared("average of the same", "similarity", by, 5) for by in ("cosine", "consensus", "real")}
    shares = points(compared("average of the same", "similarity", "sinkhorn", 5))
    assert f"+{points(equal['cosine'])} points by cosine; {shares} with the Sinkhorn matrix's own" in text
    assert all(0 <= float(row["gain"]) < 0.002 for row in equal.values()) and "within 0.2 points of equal ones" in text
    row, of_mean = (compared(f"{one} of its sources", *average) for one in ("best", "mean"))
    assert f"they are {points(of_mean)} points above it and {points(row)} above the best" in text
    assert f"the average wins on {row['above']} of {row['targets']}" in text
    adapting = points(compared("regmean of the same", *ADAPTED))
    regmean = points(compared("average of the same", "regmean", "cosine", 5))
    chance = points(compared("the same by URIEL's cosine", "average", "chance", 5))
    assert (
        f"both: {chance} (chance) to +{gained} points (labels) by which five are chosen, +{regmean} by regmean" in text
    )
    assert f"instead of the average, +{adapting} more by adapting" in text


def interval(row, sign="") -> str:
    return ", ".join(f"{100 * float(row[name]):{sign}.1f}" for name in ("low", "high"))


def test_the_results_tell_what_uriel_is_worth():
    text, by_chance, by_cosine = words("docs/results.md"), "the same by chance", "the same by URIEL's cosine"
    average, adapted = compared(by_chance, "average", "cosine", 5), compared(by_chance, *ADAPTED)
    near = {
        rounds: compared(by_cosine, how, "geography", 5, rounds) for how, rounds in (("average", 0), ("regmean", 2))
    }
    far = {rounds: points(row).removeprefix("-") for rounds, row in near.items()}
    regmean = compared(by_chance, "regmean", "cosine", 5)
    assert points(average) == points(adapted) > points(regmean)
    told = f"are worth {points(regmean)} to {points(average)} points over five by chance, adapted or not, and {far[0]}"
    assert f"{told} over the" in text and f"English alone, adapted, has {mean('regmean', 'english', 1, 2)}" in text
    sinkhorn = compared(by_chance, "average", "sinkhorn", 5)
    both = compared(by_chance, "regmean", "sinkhorn", 5, 2)
    told = f"{points(sinkhorn)} points above chance [{interval(sinkhorn, '+')}], its adapted merge {points(both)} "
    assert f"its average is {told}[{interval(both)}]" in text
    spans = {rounds: f"[{-100 * float(of['high']):.1f}, {-100 * float(of['low']):.1f}]" for rounds, of in near.items()}
    assert f"Geography is {far[0]} {spans[0]} below cosine for an average and {far[2]} {spans[2]} when adapted" in text
    chance = compared("best of all", "regmean", "chance", 5, 2)
    told = f"by chance are, adapted, {points(chance)} points [{interval(chance)}] above the best of all 48, on"
    assert f"{told} {chance['above']} targets" in text
    assert f"above it on {near[0]['above']} and {near[2]['above']} of the 49" in text


def test_the_results_tell_what_settings_are_worth():
    text = words("docs/results.md")
    ties, dare, both = (
        compared("average of the same", f"{mode}, better setting", "cosine", 5)
        for mode in ("ties", "dare", "dare_ties")
    )
    of = {row["at"]: row for row in answer.read_rows(PUBLISHED / "side_by_side.csv") if row["table"] == "methods"}
    low, high = (f"{float(of['dare'][name]):.1f}" for name in ("points_low", "points_high"))
    assert f"by itself hardly: {float(of['dare']['points']):.1f} [{low}, {high}] with its defaults" in text
    assert f"`--density 0.5` +{points(ties)} points [{interval(ties, '+').replace('+-', '-')}]" in text
    assert f"+{points(dare)} with drop rate 0.1" in text
    told = f"with TIES yes, {float(of['dare_ties']['points']):.1f}, which `--density 1 --scaling 0.5` turns into"
    assert f"{told} +{points(both)} [{interval(both)}]" in text


def test_the_methods_tell_these_numbers():
    text, rows = words("docs/methods.md"), answer.read_rows(PUBLISHED / "side_by_side.csv")
    rows = [row for row in rows if row["corpus"] == "massive" and row["table"] in ("methods", "better")]
    of = {(row["table"], row["at"]): row for row in rows if row["points"]}
    regmean = of["methods", "regmean"]
    low, high = (f"{float(regmean[name]):.1f}" for name in ("points_low", "points_high"))
    assert f"by {float(regmean['points']):.1f} points ({low} to {high}) on the 49, on each of them" in text
    assert (regmean["above"], regmean["targets"]) == ("49", "49")
    assert f"text of the target, by {float(of['better', 'regmean']['points']):.1f}." in text
    with_texts = {"regmean", "fisher_dataset", "adamerging", "consensus"}
    assert all(
        float(row["points"]) < 0.15 for (table, at), row in of.items() if table == "methods" and at not in with_texts
    )
    leads = {f"{float(of['methods', mode]['points']):.1f}" for mode in ("adamerging", "consensus")}
    assert len(leads) == 1 and f"which need such texts too, lead by {leads.pop()}." in text


def test_few_texts_gain_what_the_page_tells():
    of = {
        (row["texts"], row["flags"]): float(row["mean"]) for row in answer.read_rows(PUBLISHED / "tuned_adaptation.csv")
    }
    text, before = words("docs/adaptation.md"), of["", "before adaptation"]
    gains = {key: f"{100 * (value - before):.1f}" for key, value in of.items()}
    low = " --adapt-lr 3e-5"
    few, some, more, most = (
        (gains[texts, flags + low], gains[texts, "--adapt-epochs 3 --adapt-lr 1e-4"])
        for texts, flags in (
            ("300", "--adapt-epochs 60"),
            ("700", "--adapt-epochs 27"),
            ("1000", "--adapt-epochs 19"),
            ("3000", "--adapt-epochs 6"),
        )
    )
    told = (
        f"{some[0]} points over the merge with 700 texts, where three passes at 1e-4 gain {some[1]}, {more[0]} with "
        f"1,000 ({more[1]}) and {most[0]} with 3,000 ({most[1]}); with 300 they lose {few[0].removeprefix('-')} "
        f"({few[1].removeprefix('-')})"
    )
    assert told in text
    assert (
        f"With all texts the lower rate was {100 * (of['all', low.strip()] - of['all', '']):.1f} points better" in text
    )
    assert max(value for (texts, _), value in of.items() if texts == "100") < before
    hundred = (of["100", "--adapt-epochs 150 --adapt-lr 3e-5"], of["100", "--adapt-epochs 3 --adapt-lr 3e-5"])
    assert f"the 300 steps there lose {100 * (hundred[1] - hundred[0]):.1f} point to three passes at 3e-5" in text
    second, third, squared = (
        of["all", ""] - of["all", "--adapt-rounds 1"],
        of["all", "--adapt-rounds 3"] - of["all", ""],
        of["all", ""] - of["all", "--sharpen 1"],
    )
    told = f"a second round is worth {100 * second:.1f} points, a third {100 * third:.1f} more, the squared vote "
    assert f"{told}{100 * squared:.1f}" in words("docs/label-free.md")
    rows = {row["at"]: row for row in answer.read_rows(PUBLISHED / "side_by_side.csv") if row["table"] == "texts"}
    hundred, thousand = (f"{float(rows[texts]['points']):.1f}" for texts in ("100", "1000"))
    lost = hundred.removeprefix("-")
    assert f"with 1,000 adapting gains {thousand} points, with 100 it loses {lost}" in words("docs/results.md")
    told = f"with 1,000 of them it gains {thousand} (one seed), with 100 it loses {lost}, and with 701 on SIB-200"
    assert told in words("docs/which-way.md")
    spans = [f"{float(rows['1000'][name]):.1f}" for name in ("points_low", "points_high")]
    told = (
        f"Adapting on 1,000 texts gains {thousand} points ({' to '.join(spans)}) over regmean, on 100 it loses {lost} "
    )
    assert told in words("README.md")


def test_sib200_tells_these_numbers():
    votes = [
        compared("vote of the same", "vote_uriel_logits", by, number, corpus="sib200")
        for by, number in (("cosine", 5), ("consensus", 5), ("all", 20))
    ]
    lost = sorted(points(row).removeprefix("-") for row in votes)
    text = words("docs/experiment.md")
    assert f"leads the weighted logits by {lost[0]} to {lost[-1]} points, with 0 in each interval" in text
    assert all(float(row["low"]) < 0 < float(row["high"]) for row in votes)
    five = [(how, by, 5) for how in ("average", "regmean", "vote_soft") for by in ("cosine", "consensus")]
    below = sorted(-float(compared("vote of all", *one, corpus="sib200")["gain"]) for one in five)
    assert f"either is {100 * below[0]:.1f} to {100 * below[-1]:.1f} points below the vote of all" in words(
        "docs/results.md"
    )


def test_few_texts_gain_on_sib200_what_the_pages_tell():
    """Of the default for few texts, which MASSIVE's items chose."""
    text = words("docs/results.md")

    def gains(baseline, sign=""):
        found = [compared(baseline, "regmean", by, 5, 2, corpus="sib200") for by in ("cosine", "consensus")]
        assert {(row["targets"], row["seeds"]) for row in found} == {("50", "42 43")}
        return [(f"{100 * float(row['gain']):{sign}.1f}", f"[{interval(row, sign)}]") for row in found]

    by_cosine, by_consensus, vote, best, own = (
        mean(*one, corpus="sib200")
        for one in (
            ("regmean", "cosine", 5, 2),
            ("regmean", "consensus", 5, 2),
            ("vote_soft", "all", 20),
            ("best source", "all", 20),
            ("own model",),
        )
    )
    (gained, span), (by_other, other) = gains("regmean of the same")
    of_five, of_all, of_best = (
        " and ".join(map(" ".join, gains(*baseline)))
        for baseline in (("vote of the same",), ("vote of all", "+"), ("best of all", "+"))
    )
    assert f"the merge has {by_cosine} by cosine and {by_consensus} by consensus" in text
    assert f"That is {gained} points {span} and {by_other} {other} over regmean, {of_five} over the vote of" in text
    assert f"vote of all twenty, which has {vote}, it is {of_all}; to the best of all" in text
    assert f"the best of all in hindsight, {best}, {of_best}." in text
    assert f"own-language models have {own}." in text
    votes = [gain for gain, _ in gains("vote of the same")]
    told = f"with 701, it gains {gained} over the merge and {votes[0]} over the vote of the same five by cosine"
    assert f"{told}, {by_other} and {votes[1]} by consensus. That is not surely above or below all twenty" in text
    few = words("docs/adaptation.md")
    assert f"701 texts a target gain {gained} points {span} over regmean of the same five by cosine" in few
    assert f"by cosine and {by_other} {other} by consensus" in few
    assert f"with 701 on SIB-200 it gains {by_other} (" in words("docs/which-way.md")
    low_to_high = span.strip("[]").replace(",", " to")
    told = f"with 701, on SIB-200, adapting gained {gained} points over the merge ({low_to_high}; fifty targets"
    assert told in words("README.md")
    told = f"gains {float(gained):.0f} points there over the merge, and is not surely above or below that vote"
    assert told in words("docs/label-free.md")
    for baseline in ("vote of all", "best of all"):
        assert all(span.startswith("[-") and ", +" in span for _, span in gains(baseline, "+"))


def test_rounds_are_worth_what_the_page_tells():
    told = words("docs/label-free.md")
    measured = ways.read_measured(PUBLISHED, "massive")
    more = [
        f"{100 * ways.gain(measured, ways.Way('regmean', by, 5, 3), ways.Way('regmean', by, 5, 2)).gain:.1f}"
        for by in ("consensus", "cosine")
    ]
    assert f"half a point, the third {more[0]} to {more[1]} on top" in told
    votes = ways.Way("vote_soft", "cosine", 5)
    gains = [ways.gain(measured, ways.Way("regmean", "consensus", 5, rounds), votes) for rounds in (1, 2, 3)]
    above = [gain.above for gain in gains]
    assert f"three rounds on {above[0]}, {above[1]} and {above[2]} of {gains[0].targets}" in told


def test_other_pages_tell_these_numbers():
    ways, similarity = words("docs/which-way.md"), words("docs/similarity.md")
    for how, told in (("average", "{} points to an average"), ("regmean", "{} to regmean")):
        gained = points(compared("the same by URIEL's cosine", how, "consensus", 5))
        assert told.format(gained) in ways and gained in similarity[similarity.index("On MASSIVE it is worth") :][:120]
    average, vote = (compared("best of its sources", how, "cosine", 5) for how in ("average", "vote_soft"))
    assert f"{points(average)} points above the best of its five sources, on {average['above']} of them" in ways
    assert f"{points(vote)} points above the best of the five, on {vote['above']}" in ways
    real = points(compared("the same by URIEL's cosine", "regmean", "real", 5, 2))
    assert f"the adapted merge {real}, to {mean('regmean', 'real', 5, 2)}" in ways


def test_answers_are_whole():
    """Of every source on every language and item, whose accuracies are those of the matrix."""
    for corpus, sources, targets, items in (("massive", 49, 49, 2974), ("sib200", 20, 70, 204)):
        labels = read_array(PUBLISHED / f"{corpus}_labels.npy.xz")
        for seed in (42, 43):
            answers = read_array(PUBLISHED / f"{corpus}_{seed}/nxn_test.npy.xz")
            assert answers.shape == (sources, targets, items) == (sources, targets, len(labels))
            matrix = read_csv(PUBLISHED / f"{corpus}_{seed}/nxn_test.csv")
            assert (answers == labels).mean(-1) == pytest.approx(matrix.values, abs=1e-6)


def test_all_that_is_kept_is_small():
    assert sum(file.stat().st_size for file in PUBLISHED.rglob("*") if file.is_file()) < 10e6


def test_the_picture_is_drawn(tmp_path):
    shutil.copy(PUBLISHED / "targets.csv", tmp_path)
    picture.draw(tmp_path)
    assert (tmp_path / "targets.png").stat().st_size > 10_000
