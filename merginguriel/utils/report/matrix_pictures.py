"""Pictures of measured transfer, of the similarity of languages, and of both."""

from collections.abc import Iterator
from functools import partial
from itertools import compress

import numpy as np

from merginguriel.utils.report import heatmaps, relation_plots
from merginguriel.utils.report.picture import Picture
from merginguriel.utils.report.report_data import ReportData
from merginguriel.utils.similarity.matrix import SimilarityMatrix
from merginguriel.utils.similarity.transfer import TransferMatrix


def transfer_and_similarity(data: ReportData) -> Iterator[Picture]:
    """The matrices that there are, and how well one tells the other."""
    transfer, similarity = data.transfer, data.similarity
    if transfer and min(transfer.values.shape) > 1:
        shows = (
            "Accuracy of each model (rows) on each locale (columns), by language family; a square marks a model on its "
            "own language."
        )
        yield Picture("transfer", "heatmap", shows, partial(heatmaps.transfer_heatmap, transfer))
    if similarity:
        titles = {"label": "similarity", "row_title": "target", "column_title": "source"}
        locales = similarity.locales
        draw = partial(heatmaps.heatmap, similarity.values, locales, locales, **titles)
        yield Picture("similarity", "heatmap", "Similarity of languages, by family.", draw)
    if transfer and similarity:
        alike, measured, sources, targets = _of_other_languages(transfer, similarity)
        known = ~np.isnan(relation_plots.rank_correlations(alike, measured))
        if known.sum() > 1:
            shows = (
                "Similarity of a source to its target, against the accuracy of its model there. Right: rank "
                "correlation over the sources of each target."
            )
            told = alike[:, known], measured[:, known], list(compress(targets, known)), sources
            draw = partial(relation_plots.similarity_against_transfer, *told)
            yield Picture("similarity_and_transfer", "summary", shows, draw)


def _of_other_languages(
    transfer: TransferMatrix, similarity: SimilarityMatrix
) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """(similarity, transfer, sources, targets) of the locales in both; the two (sources, targets), NaN on the own."""
    place = {locale: index for index, locale in enumerate(similarity.locales)}
    sources = [source for source in transfer.sources if source in place]
    targets = [target for target in transfer.targets if target in place]
    alike = similarity.values[np.ix_([place[target] for target in targets], [place[source] for source in sources])].T
    rows = [source in place for source in transfer.sources]
    measured = transfer.values[np.ix_(rows, [target in place for target in transfer.targets])]
    own = np.array(sources)[:, None] == np.array(targets)
    return np.where(own, np.nan, alike), np.where(own, np.nan, measured), sources, targets
