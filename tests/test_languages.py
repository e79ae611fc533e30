"""Languages of any code against ISO codes written by hand, and against lang2vec's arrays and their tree."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from auto_merge_llm.errors import InputError
from flores import SIB

from merginguriel.utils.data import lang2vec_files, language_codes, languages
from merginguriel.utils.data.languages import Language, check_locale, is_code, language, read_list
from merginguriel.utils.data.massive_languages import LOCALES
from merginguriel.utils.data.nearest_languages import nearest, nearest_of_uriel


@pytest.mark.parametrize(
    "code, iso, name, family, script",
    [
        ("af", "afr", "Afrikaans", "Germanic", "Latin"),
        ("afr", "afr", "Afrikaans", "Germanic", "Latin"),
        ("AFR_LATN", "afr", "Afrikaans", "Germanic", "Latin"),
        ("pt_br", "por", "Portuguese", "Romance", "Latin"),
        ("en-UK", "eng", "English", "Germanic", "Latin"),
        ("es-419", "spa", "Spanish", "Romance", "Latin"),
        ("zh-Hant-TW", "zho", "Chinese", "Sinitic", "Han"),
        ("zh-yue", "yue", "Cantonese", "Sinitic", "Han"),
        ("ben_Beng", "ben", "Bengali", "Indo-Aryan", "Bengali"),
        ("tgl_Latn", "tgl", "Tagalog", "Austronesian", "Latin"),
        ("quy_Latn", "quy", "Ayacucho Quechua", "Quechuan", "Latin"),
        ("hau", "hau", "Hausa", "Chadic", "Latin"),
        ("kmr_Latn", "kmr", "Northern Kurdish", "Iranian", "Latin"),
        ("prs_Arab", "prs", "Dari", "Iranian", "Arabic"),
        ("swh_Latn", "swh", "Swahili", "Bantu", "Latin"),
        ("lvs_Latn", "lvs", "Standard Latvian", "Baltic", "Latin"),  # lang2vec knows the family of lav alone
        ("twi_Latn", "twi", "Twi", "Atlantic-Congo", "Latin"),  # … of aka alone
        ("nno_Latn", "nno", "Norwegian Nynorsk", "Germanic", "Latin"),  # … of nor alone
        ("eus_Latn", "eus", "Basque", "", "Latin"),  # an isolate
        ("epo", "epo", "Esperanto", "", "Latin"),
        ("ase", "ase", "American Sign Language", "", "SignWriting"),
        ("iw", "heb", "Hebrew", "Semitic", "Hebrew"),  # codes of other days
        ("ger", "deu", "German", "Germanic", "Latin"),
        ("mo", "ron", "Moldavian", "Romance", "Latin"),
        ("eml", "eml", "eml", "", ""),
        ("cnr_Latn", "srp", "Montenegrin", "Slavic", "Latin"),  # later than lang2vec
        ("csp", "zho", "Southern Ping Chinese", "Sinitic", ""),
        ("hyw", "", "Western Armenian", "", ""),
        ("dialect_a", "", "dialect_a", "", ""),  # names of somebody's own
        ("en_formal", "", "en_formal", "", ""),
        ("my_data", "", "my_data", "", ""),
        ("nl-NX", "", "nl-NX", "", ""),
        ("x-nl", "", "x-nl", "", ""),
        ("und", "", "und", "", ""),
        ("average", "", "average", "", ""),
    ],
)
def test_a_language(code, iso, name, family, script):
    found = language(code)
    assert (found.code, found.iso, found.name, found.family, found.script) == (code, iso, name, family, script)


def test_locales_of_massive_are_as_the_project_defines_them():
    for code, locale in LOCALES.items():
        found = language(code)
        assert (found.iso, found.name, found.family, found.script) == locale
        # langcodes would tell the same codes, and another code of the language the same family.
        assert language_codes.isos(code)[0] == locale.uriel and language(locale.uriel).family == locale.family
    assert [language(code).name for code in ("zh-CN", "zh-TW")] == ["Chinese (simplified)", "Chinese (traditional)"]


def test_every_language_of_sib_200_is_known_by_its_own_code():
    data = Path(importlib.util.find_spec("lang2vec").submodule_search_locations[0]) / "data"
    known = set(np.load(data / "feature_predictions.npz")["langs"].tolist())
    assert len(SIB) == 205 and {code[:3] for code in SIB} <= known
    found = [language(code) for code in SIB]
    assert [one.iso for one in found] == [code[:3] for code in SIB]
    assert not any(one.stands_in or one.name.startswith("Unknown") or one.name == one.code for one in found)
    assert [one.code for one in found if not one.family] == ["epo_Latn", "eus_Latn", "nqo_Nkoo"]
    sizes = [sum(one.family == family for one in found) for family in {one.family for one in found}]
    assert 30 <= len(sizes) <= 40 and max(sizes) <= 25  # a picture has groups, and no group is most of it


def test_families_are_ancestors_in_lang2vecs_tree():
    data = Path(importlib.util.find_spec("lang2vec").submodule_search_locations[0]) / "data"
    with np.load(data / "family_features.npz") as archive:
        names, languages, member = archive["feats"].tolist(), archive["langs"].tolist(), archive["data"][:, :, 0]
    renamed = {told: name for name, told in lang2vec_files.BRANCHES.items()}
    families = lang2vec_files.families()
    for code in sorted({code[:3] for code in SIB} & set(families)):
        ancestors = [names[place][2:] for place in member[languages.index(code)].nonzero()[0]]
        told = renamed.get(families[code], families[code])
        assert told in ancestors
        # One of the branches, or what none of its other groups is larger than.
        sizes = {name: member[:, names.index(f"F_{name}")].sum() for name in ancestors}
        assert told in lang2vec_files.BRANCHES or sizes[told] == max(sizes.values())
    assert set(lang2vec_files.BRANCHES) | lang2vec_files.NO_FAMILIES <= {name[2:] for name in names}
    assert not set(families.values()) & lang2vec_files.NO_FAMILIES


def test_uriel_has_every_macrolanguage():
    # So that a member which it lacks can always go by its macrolanguage.
    from langcodes.data_dicts import LANGUAGE_ALPHA3, MACROLANGUAGES

    assert {LANGUAGE_ALPHA3.get(tag, tag) for tag in MACROLANGUAGES.values()} <= lang2vec_files.codes()


def test_a_code_of_ones_own_stands_for_a_language():
    mine = language("dialect_a", "nld")
    assert mine == Language("dialect_a", "nld", "Dutch", "Latin") and mine.family == "Germanic" and not mine.stands_in
    assert language("nl-NL", "afr").iso == "afr"  # the mapping counts, also for MASSIVE's
    assert language("own_Cyrl", "sr").iso == "srp"
    with pytest.raises(InputError, match=r"'hyw', which mine stands for, .*did you mean hye \(Armenian\)"):
        language("mine", "hyw")
    with pytest.raises(InputError, match="'Dutch', which mine stands for, .*did you mean nl-NL"):
        language("mine", "Dutch")


def test_related():
    assert language("nl-NL").related(language("afr_Latn")) and language("eus").related(language("eu-ES"))
    assert not language("nl-NL").related(language("spa_Latn"))
    # Nothing is known of either family.
    assert not language("eus_Latn").related(language("nqo_Nkoo")) and not language("a_b").related(language("c_d"))


def test_substitutes_are_told():
    assert [code for code in (*LOCALES, *SIB, "cnr", "csp", "af", "zh-yue") if language(code).stands_in] == [
        "cnr",
        "csp",
    ]


def test_without_lang2vec_names_stay(monkeypatch):
    monkeypatch.setattr(lang2vec_files, "folder", lambda: None)
    caches = (lang2vec_files.codes, lang2vec_files.families, language_codes.isos, languages._language)
    for cache in caches:
        cache.cache_clear()
    try:
        quechua = language("quy_Latn")
        assert (quechua.iso, quechua.name, quechua.family) == ("quy", "Ayacucho Quechua", "")
    finally:
        for cache in caches:
            cache.cache_clear()


@pytest.mark.parametrize(
    "text, known, near",
    [
        ("nl_NL", LOCALES, "nl-NL"),
        ("af-Za", LOCALES, "af-ZA"),
        ("nl", LOCALES, "nl-NL"),
        ("nld_Latn", LOCALES, "nl-NL"),
        ("ara", LOCALES, "ar-SA"),
        ("no", LOCALES, "nb-NO"),
        ("zh", LOCALES, "zh-CN or zh-TW"),
        ("nl-NX", LOCALES, "nl-NL"),
        ("Dutch", LOCALES, "nl-NL"),
        ("germn", LOCALES, "de-DE"),
        ("hau-Latn", SIB, "hau_Latn"),
        ("ha", SIB, "hau_Latn"),
        ("ar", SIB, "arb_Arab or arb_Latn"),  # standard Arabic before all the others
        ("qu", SIB, "quy_Latn"),
        ("quz_Latn", SIB, "quy_Latn"),
        ("af-ZX", SIB, "afr_Latn"),
        ("Yoruba", SIB, "yor_Latn"),
        ("ladin_x", ["ladin_y"], "ladin_y"),
    ],
)
def test_a_near_miss(text, known, near):
    with pytest.raises(InputError, match=rf"^unknown locale '{text}' in here; did you mean {near}\?$"):
        check_locale(text, known, "here")


def test_letters_alone_are_no_hint_for_a_language():
    assert nearest("hau", LOCALES) == [] and nearest("hau_Latn", ["hat_Latn", "lua_Latn"]) == []
    with pytest.raises(InputError, match="unknown locale 'hau' in MASSIVE; known: af-ZA, am-ET, .*, zh-TW$"):
        check_locale("hau", LOCALES, "MASSIVE")
    with pytest.raises(InputError, match="there are 205, from ace_Arab to zul_Latn$"):
        check_locale("dialect_a", SIB, "SIB")
    assert check_locale("hau_Latn", SIB, "SIB") == "hau_Latn"


@pytest.mark.parametrize(
    "code, near",
    [
        ("hyw", "hye (Armenian)"),
        ("Quechua", "que (Quechua)"),
        ("Dutch", "nl-NL"),
        ("ber", "kab (Kabyle)"),  # of a group of languages, one of them
        ("sgn", "ase (American Sign Language)"),
    ],
)
def test_what_uriel_has_instead(code, near):
    found = nearest_of_uriel(code)
    assert found[0] == near and len(found) <= 3


def test_nothing_is_near_a_name_of_ones_own():
    assert nearest_of_uriel("dialect_a") == nearest_of_uriel("zzz") == []


def test_is_code():
    assert all(map(is_code, ("af-ZA", "quy_Latn", "dialect_a", "1")))
    assert not any(map(is_code, ("", "af ZA", "../af", "af_", "-af", None, float("nan"))))


@pytest.mark.parametrize(
    "text",
    ["quy_Latn\nhau\n", "language,topic\nquy_Latn,a\nhau,b\n", "1→quy_Latn\n2. hau\n", "\ufefflocale\nquy_Latn\nhau\n"],
)
def test_lists(tmp_path, text):
    file = tmp_path / "list.csv"
    file.write_text(text, encoding="utf-8")
    assert read_list(file, "--flag") == ["quy_Latn", "hau"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("quy_Latn\nha u\n", "'ha u' is no language code"),
        ("quy_Latn\n../x\n", r"'\.\./x' is no language code"),
        ("hau\nhau\n", "hau stands twice"),
        ("model,size\na,b\n", "no column 'locale' or 'language': it has model, size"),
        ("\n", "has no locale"),
    ],
)
def test_wrong_lists(tmp_path, text, message):
    file = tmp_path / "list.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        read_list(file, "--flag")


def test_nothing_heavy_is_imported_for_a_flag():
    program = (
        "import sys, merginguriel.utils.data.languages, merginguriel.utils.data.language_arguments as a; "
        "a.locale_list('quy_Latn,hau'); print(sorted({'numpy', 'langcodes', 'language_data'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
