"""Numbers of the experiment, from files as they are kept, against plain loops and scipy."""

import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, wilcoxon

from merginguriel.utils.evaluation.statistics import bootstrap_interval
from merginguriel.utils.similarity.transfer import TransferMatrix

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "experiments"))
import answer  # noqa: E402
import collect  # noqa: E402
from kept import Kept, Row, read_array, read_kept, write_array, write_kept  # noqa: E402
from needs import needs  # noqa: E402
from side_by_side import ADAPTED, AVERAGE, rows_of_tables, table_of  # noqa: E402
from ways import CHOSE_DEFAULTS, OWN, Measured, Way, gain, gap_closed, read_measured  # noqa: E402

LANGUAGES = ("aa", "bb", "cc", "dd")
FAR = ("xx", "yy")  # targets that are no sources
ITEMS, CLASSES = 60, 7
LABELS = np.random.default_rng(0).integers(CLASSES, size=ITEMS)


def answers(skill: float, seed: int) -> np.ndarray:
    """(items,): right about as often as `skill` says."""
    draw = np.random.default_rng(seed)
    return np.where(draw.random(ITEMS) < skill, LABELS, (LABELS + draw.integers(1, CLASSES, ITEMS)) % CLASSES)


def made(seed: int) -> Kept:
    targets = LANGUAGES + FAR
    transfer = np.array(
        [[answers(0.9 if source == target else 0.3 + 0.1 * number, 100 * seed + 10 * number + at)
          for at, target in enumerate(targets)] for number, source in enumerate(LANGUAGES)]
    )  # fmt: skip
    rows, found = [], []

    def add(part, mode, by, number, target, skill, rounds=0, examples=0):
        names = [one for one in LANGUAGES if one != target][:number]
        name, seconds = f"{part} {mode} {by} {number} {rounds}", str(len(rows)) if rounds else ""
        rows.append(Row(part, name, target, mode, by, number, rounds, examples, " ".join(names), seconds))
        found.append(answers(skill, 1000 * seed + len(rows)))

    for target in targets:
        for by in ("cosine", "consensus"):
            add("results", "average", by, 2, target, 0.55)
            add("results", "regmean", by, 2, target, 0.6)
            add("votes", "ensemble_soft", by, 2, target, 0.58)
        add("results", "regmean", "consensus", 2, target, 0.8, rounds=2)
        add("votes", "ensemble_soft", "cosine", 4 - (target in LANGUAGES), target, 0.6)
        if target != "aa":
            add("chance", "regmean", "cosine", 2, target, 0.5)
            add("better", "ties", "cosine", 2, target, 0.5)
            add("texts_100", "regmean", "consensus", 2, target, 0.7, rounds=2, examples=100)
    for target in FAR:
        rows.append(Row("nxn_own", target, target, "own model", "", 1, 0, 0, target))
        found.append(answers(0.9, seed + 7))
    right = (transfer == LABELS).mean(-1)
    return Kept(rows, np.array(found), TransferMatrix(LANGUAGES, targets, right, "made"), transfer)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    for seed in (42, 43):
        write_kept(folder / f"massive_{seed}", made(seed))
    write_array(folder / "massive_labels.npy.xz", LABELS)
    return folder


@pytest.fixture(scope="module")
def measured(folder):
    return read_measured(folder, "massive")


def right(seed: int, target: str, **chosen) -> np.ndarray:
    kept = made(seed)
    wanted = {"target": target, **chosen}
    found = [at for at, row in enumerate(kept.rows) if wanted.items() <= asdict(row).items()]
    assert len(found) == 1, chosen
    return kept.answers[found[0]] == LABELS


def test_what_is_written_is_read_again(folder):
    written, kept = made(42), read_kept(folder / "massive_42")
    assert kept.rows == written.rows and kept.transfer.sources == LANGUAGES and kept.transfer.targets == LANGUAGES + FAR
    np.testing.assert_array_equal(kept.answers, written.answers)
    np.testing.assert_array_equal(kept.transfer_answers, written.transfer_answers)
    np.testing.assert_allclose(kept.transfer.values, written.transfer.values)


def test_parts_of_the_same_sources_are_joined(folder, tmp_path):
    whole = read_kept(folder / "massive_42")
    for name, rows in (("one", slice(0, 20)), ("two", slice(10, None))):
        some = replace(whole, rows=whole.rows[rows], answers=whole.answers[rows])
        write_kept(tmp_path / name / "massive_42", some)
        write_array(tmp_path / name / "massive_labels.npy.xz", LABELS)
    folders = [str(tmp_path / "one"), str(tmp_path / "two")]
    collect.main([*folders, "--output", str(tmp_path / "all")])
    joined = read_kept(tmp_path / "all/massive_42")
    order = sorted(
        range(len(whole.rows)), key=lambda at: (whole.rows[at].target, whole.rows[at].part, whole.rows[at].name)
    )
    assert joined.rows == [whole.rows[at] for at in order]
    np.testing.assert_array_equal(joined.answers, whole.answers[order])
    np.testing.assert_array_equal(read_array(tmp_path / "all/massive_labels.npy.xz"), LABELS)
    other = whole.answers.copy()
    other[15, 0] += 1
    wrong = {
        "different answers of": replace(whole, answers=other),
        "do not answer alike": replace(whole, transfer_answers=whole.transfer_answers[::-1]),
    }
    for reason, kept in wrong.items():
        write_kept(tmp_path / "two/massive_42", kept)
        with pytest.raises(SystemExit, match=reason):
            collect.main([*folders, "--output", str(tmp_path / "never")])
    write_array(tmp_path / "two/massive_labels.npy.xz", LABELS[::-1])
    with pytest.raises(SystemExit, match="other labels"):
        collect.main([*folders, "--output", str(tmp_path / "never")])
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("values", [[-1], [256]])
def test_what_does_not_fit_a_byte_is_refused(values, tmp_path):
    with pytest.raises(ValueError, match="do not fit"):
        write_array(tmp_path / "values.npy.xz", np.array(values))
    assert not list(tmp_path.iterdir())


def test_references_are_of_the_matrix(measured):
    for seed in (42, 43):
        kept = made(seed)
        for at, target in enumerate(LANGUAGES + FAR):
            column = (kept.transfer_answers[:, at] == LABELS).mean(-1)
            others = {name: one for name, one in zip(LANGUAGES, column) if name != target}
            best = measured.cells[measured.best_of_all][target, seed].mean()
            assert best == pytest.approx(max(others.values()))
            both = measured.cells[Way("mean of sources", "consensus", 2)][target, seed].mean()
            assert both == pytest.approx(np.mean([*others.values()][:2]))
            of_two = measured.cells[Way("best source", "consensus", 2)][target, seed].mean()
            assert of_two == pytest.approx(max([*others.values()][:2]))
            own = column[at] if target in LANGUAGES else (answers(0.9, seed + 7) == LABELS).mean()
            assert measured.cells[OWN][target, seed].mean() == pytest.approx(own)


def test_sources_by_chance_and_better_settings_are_ways_of_their_own(measured):
    assert Way("regmean", "chance", 2) in measured.cells and Way("ties, better setting", "cosine", 2) in measured.cells
    assert Way("regmean", "consensus", 2, 2, 100) in measured.cells
    of_all = measured.cells[Way("vote_soft", "all", 4)]  # of a source's language three are all
    assert {target for target, _ in of_all} == {*LANGUAGES, *FAR}


def test_a_gain_is_of_the_same_items_targets_and_seeds(measured):
    ours, theirs = Way("regmean", "consensus", 2, 2), Way("regmean", "chance", 2)
    found = gain(measured, ours, theirs)
    targets = [target for target in LANGUAGES + FAR if target != "aa"]
    of_ours = np.array(
        [[right(seed, target, part="results", mode="regmean", rounds=2) for seed in (42, 43)] for target in targets]
    )
    of_theirs = np.array([[right(seed, target, part="chance") for seed in (42, 43)] for target in targets])
    gains = of_ours.mean((1, 2)) - of_theirs.mean((1, 2))
    assert (found.targets, found.seeds) == (5, "42 43") and found.gain == pytest.approx(gains.mean())
    assert (found.above, found.below) == ((gains > 0).sum(), (gains < 0).sum())
    assert found.p == pytest.approx(wilcoxon(gains).pvalue)
    by_seed = of_ours.mean((0, 2)) - of_theirs.mean((0, 2))
    assert found.by_seed == " ".join(f"{value:+.4f}" for value in by_seed)
    expected = bootstrap_interval(of_ours.mean(1) - of_theirs.mean(1), resample_locales=True)
    assert (found.low, found.high) == pytest.approx(expected, abs=0.01)
    better = of_ours.mean(1) - of_theirs.mean(1)
    only = [((one > 0).sum(), (one < 0).sum()) for one in better]
    p_values = np.array([binomtest(int(won), int(won + lost)).pvalue for won, lost in only])
    order = np.argsort(p_values)
    adjusted = np.empty(5)
    adjusted[order] = np.maximum.accumulate(p_values[order] * np.arange(5, 0, -1))
    assert found.sure_above == ((adjusted < 0.05) & (gains > 0)).sum() > 0 == found.sure_below
    named = sorted((-gain, target) for gain, target, p in zip(gains, targets, adjusted) if p < 0.05)
    assert found.which_above.split() == [target for _, target in named] and found.which_below == ""


@pytest.mark.parametrize(
    "way, networks, texts, labels",
    [
        (Way("average", "cosine", 5), 1, 0, 0),
        (Way("average", "consensus", 5), 1, 1000, 0),
        (Way("consensus", "cosine", 5), 1, 1000, 0),
        (Way("average", "real", 5), 1, 0, 2033),
        (Way("regmean", "chance", 5), 1, 1000, 0),
        (Way("regmean, better setting", "cosine", 5), 1, 0, 0),
        (Way("fisher_dataset", "cosine", 5), 1, 1000, 0),
        (Way("ties, better setting", "cosine", 5), 1, 0, 0),
        (Way("vote_soft", "cosine", 5), 5, 0, 0),
        (Way("vote_uriel_logits", "all", 48), 48, 0, 0),
        (Way("regmean", "consensus", 5, 2), 1, 11514, 0),
        (Way("regmean", "consensus", 5, 2, 100), 1, 1000, 0),
        (Way("regmean", "cosine", 5, 2, 5000), 1, 5000, 0),
        (OWN, 1, 0, 11514),
    ],
)
def test_what_a_way_needs(way, networks, texts, labels):
    assert needs(way, "massive") == (networks, texts, labels)
    assert needs(Way("average", "consensus", 5), "sib200") == (1, 701, 0)


def test_a_line_a_target_and_who_is_surely_better(folder, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- massive, cosine -->\n<!-- end -->\n")
    answer.main([str(folder), "--pages", str(page)])
    lines = [
        row for row in answer.read_rows(folder / "targets.csv") if (row["how"], row["by"]) == ("regmean", "chance")
    ]
    assert [row["target"] for row in lines] == sorted(target for target in LANGUAGES + FAR if target != "aa")
    for row in lines:
        both = [right(seed, row["target"], part="chance").mean() for seed in (42, 43)]
        assert float(row["accuracy"]) == pytest.approx(np.mean(both), abs=1e-4)
    assert "surely better on" in page.read_text()


def test_a_seed_that_has_only_begun_takes_no_target_away(folder, tmp_path, capsys):
    for seed in (42, 43):
        kept = read_kept(folder / f"massive_{seed}")
        some = [at for at, row in enumerate(kept.rows) if seed == 42 or row.mode != "average" or row.target == "aa"]
        write_kept(
            tmp_path / f"massive_{seed}", replace(kept, rows=[kept.rows[at] for at in some], answers=kept.answers[some])
        )
    write_array(tmp_path / "massive_labels.npy.xz", LABELS)
    measured = read_measured(tmp_path, "massive")
    way = Way("average", "consensus", 2)
    assert {seed for _, seed in measured.cells[way]} == {42} and len(measured.cells[way]) == 6
    assert "left out: Way(how='average', by='consensus'" in capsys.readouterr().err
    assert {seed for _, seed in measured.cells[Way("regmean", "consensus", 2)]} == {42, 43}


def test_other_sources_under_one_choice_are_refused(tmp_path):
    kept = made(42)
    rows = [replace(row, sources="dd bb") if row.part == "votes" and row.target == "aa" else row for row in kept.rows]
    write_kept(tmp_path / "massive_42", replace(kept, rows=rows))
    write_array(tmp_path / "massive_labels.npy.xz", LABELS)
    with pytest.raises(SystemExit, match="has other sources than the rest chosen by"):
        read_measured(tmp_path, "massive")


def test_the_gap_is_between_the_best_source_and_the_own_model(measured):
    way = Way("regmean", "consensus", 2, 2)
    best, own = (measured.cells[one] for one in (Way("best source", "consensus", 2), OWN))
    at, low, high = (np.mean([of[key].mean() for key in own]) for of in (measured.cells[way], best, own))
    assert gap_closed(measured.cells[way], best, own) == pytest.approx((at - low) / (high - low))
    assert gap_closed(best, best, own) == 0 and gap_closed(own, best, own) == 1
    some = {key: right for key, right in own.items() if key[0] != "aa"}
    assert gap_closed(best, own, own) is gap_closed(best, {}, own) is gap_closed(best, best, some) is None


def test_two_results_of_one_way_are_refused(tmp_path):
    kept = made(42)
    twice = replace(kept, rows=[*kept.rows, kept.rows[0]], answers=np.vstack([kept.answers, kept.answers[:1]]))
    write_kept(tmp_path / "massive_42", twice)
    write_array(tmp_path / "massive_labels.npy.xz", LABELS)
    with pytest.raises(SystemExit, match="two results of"):
        read_measured(tmp_path, "massive")


def test_where_nothing_is_kept_or_the_page_has_no_place_it_says_so(folder, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    for given, reason in ((tmp_path, "no files of"), (folder, "has no place for")):
        with pytest.raises(SystemExit, match=reason):
            answer.main([str(given), "--pages", str(page)])
    with pytest.raises(SystemExit, match="no page"):
        answer.main([str(folder), "--pages", str(page), str(tmp_path / "none.md")])
    with pytest.raises(SystemExit, match="no N×N of test items"):
        collect.main([str(tmp_path / "missing"), "--output", str(tmp_path / "out")])


def test_the_page_says_what_the_rows_say(folder, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- massive, choosing -->\n<!-- end -->\nafter\n")
    answer.main([str(folder), "--pages", str(page)])
    text, means = page.read_text(), answer.read_rows(folder / "means.csv")
    assert text.startswith("before\n<!-- massive, choosing -->\n\n| sources |") and text.endswith(
        "<!-- end -->\nafter\n"
    )
    row = next(row for row in means if (row["how"], row["by"], row["rounds"]) == ("regmean", "consensus", "2"))
    both = [
        right(seed, target, part="results", mode="regmean", rounds=2).mean()
        for seed in (42, 43)
        for target in LANGUAGES + FAR
    ]
    assert float(row["accuracy"]) == pytest.approx(np.mean(both), abs=1e-4) and row["targets"] == "6"
    taken = [float(one.seconds) for seed in (42, 43) for one in made(seed).rows if one.rounds and one.part == "results"]
    assert float(row["seconds"]) == pytest.approx(np.median(taken), abs=0.05)
    first = page.read_text()
    answer.main([str(folder), "--pages", str(page)])
    assert page.read_text() == first


@pytest.mark.parametrize("voted", [False, True])
def test_tables_of_what_is_not_finished(voted):
    """Votes may come later; a second seed that has only begun takes no target away; methods need no better settings."""
    targets = [*CHOSE_DEFAULTS[:2], *LANGUAGES]
    draw = np.random.default_rng(1)
    ways = [ADAPTED, ADAPTED._replace(by="cosine"), AVERAGE, AVERAGE._replace(how="ties"), Way("best source", "all", 3)]
    ways += [Way("vote_soft", "consensus", 5), Way("vote_soft", "cosine", 5)] if voted else []
    cells = {way: {(target, 42): draw.random(ITEMS) < 0.6 for target in targets} for way in ways}
    begun = {way: {(targets[0], 43): draw.random(ITEMS) < 0.6} for way in ways[:2]}
    of = {}
    for row in rows_of_tables(Measured(cells=cells, begun=begun, available=3), 11514):
        of.setdefault((row["table"], row["at"]), []).append(row)
    assert {row["targets"] for row in of["others", "best of all"]} == {4}
    assert {row["targets"] for row in of["chose", "best of all"]} == {2}
    assert all("points" in row for row in of["others", "best of all"])
    assert all(("points" in row) == voted for row in of["others", "vote of the same"])
    gains = [(cells[ways[3]][one, 42] * 1.0 - cells[AVERAGE][one, 42]).mean() for one in targets]
    (ties,) = of["methods", "ties"]
    assert ties["points"] == pytest.approx(100 * np.mean(gains)) and ties["seeds"] == "42"


def test_rounds_stand_beside_two_of_the_same(tmp_path):
    targets, draw = [*LANGUAGES], np.random.default_rng(2)
    ways = [ADAPTED._replace(by=by, rounds=rounds) for by in ("cosine", "consensus") for rounds in (1, 2, 3)]
    cells = {way: {(target, seed): draw.random(ITEMS) < 0.6 for target in targets for seed in (42, 43)} for way in ways}
    del cells[ways[0]][targets[0], 42]  # then no line has this target
    cells[Way("vote_soft", "cosine", 5)] = cells[ADAPTED._replace(by="cosine")]
    all_rows = [row for row in rows_of_tables(Measured(cells=cells, available=3), 11514) if row["table"] == "rounds"]
    rows = [row for row in all_rows if row["at"] == "two rounds"]
    assert [(row["by"], row["rounds"]) for row in rows] == [(way.by, way.rounds) for way in sorted(ways)]
    for row in rows:
        both = [cells[ADAPTED._replace(by=row["by"], rounds=rounds)] for rounds in (row["rounds"], 2)]
        means = [np.mean([of[one, seed] for one in targets[1:] for seed in (42, 43)]) for of in both]
        assert row["targets"] == len(targets) - 1 and row["accuracy"] == pytest.approx(means[0])
        if row["rounds"] != 2:
            assert row["points"] == pytest.approx(100 * (means[0] - means[1]))
    told = [{name: str(value) for name, value in row.items()} for row in all_rows]
    header, lines = table_of([{"points": "", "above": "", **row} for row in told], "rounds", {})
    assert header[1].startswith("accuracy, ") and header[-1] == "points to vote of the same"
    assert [line[0] for line in lines][:2] == [
        "adapted in 1 round, 5 by consensus",
        "adapted in 2 rounds, 5 by consensus",
    ]
    # Those by cosine vote as two rounds answer; of those by consensus there is no vote.
    assert [bool(line[-1]) for line in lines] == [False] * 3 + [True] * 3
    assert lines[3][-1] == lines[3][2] and lines[5][-1] == lines[5][2]
    assert [bool(line[2]) for line in lines] == [True, False, True] * 2
