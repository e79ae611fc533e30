"""What plot_results.py and quick_plot.py do alike: find what is drawn, and draw it."""

import logging
from argparse import Namespace
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data.languages import own_codes
from merginguriel.utils.flags.result_flags import nxn_of
from merginguriel.utils.flags.setting_flags import ignore_idle
from merginguriel.utils.report import pictures
from merginguriel.utils.report.language_data import with_similarity
from merginguriel.utils.report.read_data import comprehensive_files, from_csv, from_results
from merginguriel.utils.report.report_data import ReportData
from merginguriel.utils.results.csv_tables import advanced_summary
from merginguriel.utils.results.formatting import many
from merginguriel.utils.results.rows import find_results
from merginguriel.utils.storage import atomic
from merginguriel.utils.storage.csv_cells import csv_text
from merginguriel.utils.storage.naming import RESULTS_JSON

log = logging.getLogger(__name__)


def chosen_data(args: Namespace) -> tuple[ReportData, str]:
    """(what the flags of `result_flags.add_pictures` choose, where it comes from in words)"""
    chosen = {"locales": args.locales, "types": args.experiment_types, "numbers": args.num_languages}
    newest = next(iter(comprehensive_files(Path("."))), None)
    folders = list(find_results(args.results_dir)) if args.results_dir.is_dir() else []
    asked = {"results_dir", "split", "task", "nxn_results_dir"} & args.explicit
    is_current = newest is not None and all(_is_older(folder / RESULTS_JSON, newest) for folder in folders)
    if not args.csv_file and (asked or (folders and not is_current)):
        if newest is not None and not asked:
            log.info("%s is older than results in %s, which are drawn", newest, args.results_dir)
        data = from_results(args.results_dir, nxn_of(args), split=args.split, task=args.task, **chosen)
        return with_similarity(data, args.similarity_matrix), str(args.results_dir)
    csv_file = args.csv_file or newest
    if csv_file is None:
        raise InputError(
            f"no results in {args.results_dir} and no results_comprehensive_*.csv here; run merges first, "
            "or name a folder with --results-dir or a table with --csv-file"
        )
    ignore_idle(args, ["results_dir", "split", "task", "nxn_results_dir"], "beside a table")
    data = from_csv(csv_file, args.evaluation_matrix, **chosen)
    return with_similarity(data, args.similarity_matrix), str(csv_file)


def _is_older(file: Path, than: Path) -> bool:
    return file.stat().st_mtime_ns <= than.stat().st_mtime_ns


def draw(data: ReportData, kinds: Collection[str], folder: Path, formats: Collection[str]) -> str:
    """Draw all pictures of these kinds into `folder` and write the table of their numbers; says where they are."""
    time = f"{datetime.now():%Y%m%d_%H%M%S}"
    with own_codes(data.own_codes):
        names = pictures.write(data, kinds, folder, time, formats)
    table = Path(f"advanced_analysis_summary_{time}.csv")
    atomic.write_text(table, csv_text(advanced_summary(data.frame, data.comparison.metric)))
    where = f"{many(len(names), 'picture')}, {folder}/<name>_{time}.{' .'.join(formats)}:"
    lines = [
        where if names else "no picture: a single number needs none; choose more locales, methods or kinds",
        *(f"  {name}" for name in names),
        f"their numbers: {table}",
    ]
    return "\n".join(lines)
