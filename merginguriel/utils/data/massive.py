"""MASSIVE: intents in 52 locales, the task that commands take by default, and its mini corpus.

FitzGerald et al. 2022, arXiv 2204.08582.
"""

from dataclasses import replace

from merginguriel.utils.data import mini
from merginguriel.utils.data.massive_languages import DEFAULT_LOCALES, LOCALES
from merginguriel.utils.data.task import DEFAULT_TASK, MINI, Task

# The Hub's ClassLabel order. Never derived from a split: the test split has 59 of the 60.
INTENTS = tuple(
    """
    datetime_query iot_hue_lightchange transport_ticket takeaway_query qa_stock general_greet
    recommendation_events music_dislikeness iot_wemo_off cooking_recipe qa_currency transport_traffic
    general_quirky weather_query audio_volume_up email_addcontact takeaway_order email_querycontact
    iot_hue_lightup recommendation_locations play_audiobook lists_createoradd news_query alarm_query
    iot_wemo_on general_joke qa_definition social_query music_settings audio_volume_other
    calendar_remove iot_hue_lightdim calendar_query email_sendemail iot_cleaning audio_volume_down
    play_radio cooking_query datetime_convert qa_maths iot_hue_lightoff iot_hue_lighton
    transport_query music_likeness email_query play_music audio_volume_mute social_post alarm_set
    qa_factoid calendar_set play_game alarm_remove lists_remove transport_taxi recommendation_movies
    iot_coffee music_query play_podcasts lists_query
""".split()
)
LABEL_OF = {name: index for index, name in enumerate(INTENTS)}
MASSIVE = Task(
    DEFAULT_TASK,
    "AmazonScience/massive",
    ("utt",),
    "intent",
    INTENTS,
    languages=tuple((code, None) for code in LOCALES),
    defaults=DEFAULT_LOCALES,
    similar_among=DEFAULT_LOCALES,
    origin=DEFAULT_TASK,
)
MINI_TASK = replace(MASSIVE, data=MINI, languages=tuple((code, None) for code in mini.LOCALES), defaults=mini.LOCALES)
