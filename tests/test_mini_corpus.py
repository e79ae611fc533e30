"""The mini corpus: parallel, free of duplicates, reproducible, and true to how near its languages are."""

import hashlib
import json
from collections import Counter

import pytest
from auto_merge_llm.errors import InputError

from merginguriel.utils.data.mini import CORPUS_DIR, LOCALES, records

# The 60 intents of MASSIVE.
MASSIVE_INTENTS = set(
    """
    alarm_query alarm_remove alarm_set audio_volume_down audio_volume_mute audio_volume_other
    audio_volume_up calendar_query calendar_remove calendar_set cooking_query cooking_recipe
    datetime_convert datetime_query email_addcontact email_query email_querycontact email_sendemail
    general_greet general_joke general_quirky iot_cleaning iot_coffee iot_hue_lightchange
    iot_hue_lightdim iot_hue_lightoff iot_hue_lighton iot_hue_lightup iot_wemo_off iot_wemo_on
    lists_createoradd lists_query lists_remove music_dislikeness music_likeness music_query
    music_settings news_query play_audiobook play_game play_music play_podcasts play_radio qa_currency
    qa_definition qa_factoid qa_maths qa_stock recommendation_events recommendation_locations
    recommendation_movies social_post social_query takeaway_order takeaway_query transport_query
    transport_taxi transport_ticket transport_traffic weather_query
    """.split()
)

# Results on the corpus are only comparable between versions while this digest stands.
EXPANSION_SHA256 = "406dd5993353553becb3d4d38b73be54a4318c8be0fb1e23be3ef568f7c633a0"


@pytest.fixture(scope="module")
def corpus():
    return {locale: records(locale) for locale in LOCALES}


def test_one_file_per_locale():
    assert {path.stem for path in CORPUS_DIR.glob("*.json")} == set(LOCALES)
    for locale in LOCALES:
        assert json.loads((CORPUS_DIR / f"{locale}.json").read_text(encoding="utf-8"))["locale"] == locale


def test_templates_are_parallel():
    def slots_by_template(locale):
        data = json.loads((CORPUS_DIR / f"{locale}.json").read_text(encoding="utf-8"))
        assert all(len(values) == 8 for values in data["slots"].values())
        names = {}
        for intent, templates in data["intents"].items():
            assert len(templates) == 8
            for template in templates:
                assert template.count("{") == template.count("}") == 1
            names[intent] = [t[t.index("{") + 1 : t.index("}")] for t in templates]
        # Order counts: the ids follow it.
        return list(data["slots"]), list(names.items())

    english = slots_by_template("en-US")
    for locale in LOCALES:
        assert slots_by_template(locale) == english


def test_records_are_parallel(corpus):
    def meaning(row):
        return row["id"], row["partition"], row["scenario"], row["intent"]

    english = [meaning(row) for row in corpus["en-US"]]
    assert len({row_id for row_id, *_ in english}) == len(english) == 576
    for locale, rows in corpus.items():
        assert [meaning(row) for row in rows] == english
        assert {row["locale"] for row in rows} == {locale}


def test_intents_are_massive_intents(corpus):
    intents = {row["intent"] for row in corpus["en-US"]}
    assert len(MASSIVE_INTENTS) == 60
    assert len(intents) == 12
    assert intents <= MASSIVE_INTENTS
    assert all(row["intent"].startswith(row["scenario"] + "_") for row in corpus["en-US"])


def test_every_intent_has_the_same_share_of_each_partition(corpus):
    counts = Counter((row["intent"], row["partition"]) for row in corpus["en-US"])
    assert len(counts) == 36
    assert {partition: n for (_, partition), n in counts.items()} == {"train": 29, "dev": 7, "test": 12}
    assert len({(partition, n) for (_, partition), n in counts.items()}) == 3


def test_no_sentence_stands_twice(corpus):
    for rows in corpus.values():
        assert len({row["utt"] for row in rows}) == len(rows)


def test_sentences_are_clean(corpus):
    for rows in corpus.values():
        for row in rows:
            assert row["utt"] == " ".join(row["utt"].split())
            assert row["utt"].islower()
            assert "{" not in row["utt"] and "}" not in row["utt"]


def test_expansion_is_pinned(corpus):
    text = json.dumps([corpus[locale] for locale in LOCALES], ensure_ascii=False, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == EXPANSION_SHA256


@pytest.mark.parametrize(
    "locale, relative, stranger",
    [
        ("af-ZA", "nl-NL", "fi-FI"),
        ("id-ID", "ms-MY", "tr-TR"),
        ("tr-TR", "az-AZ", "es-ES"),
        ("es-ES", "pt-PT", "sw-KE"),
    ],
)
def test_relatives_share_more_words_than_strangers(corpus, locale, relative, stranger):
    def jaccard(one, other):
        a, b = ({word for row in corpus[x] for word in row["utt"].split()} for x in (one, other))
        return len(a & b) / len(a | b)

    assert jaccard(locale, relative) > 3 * jaccard(locale, stranger)


def test_unknown_locale():
    with pytest.raises(InputError, match="xx-XX.*use one of af-ZA") as error:
        records("xx-XX")
    assert "\n" not in str(error.value)
