"""Build the language similarity matrices: half cosine of URIEL vectors, then top-k and Sinkhorn.

Writes two CSVs with the codes of any languages as rows and columns: the dense similarities, and the
sparse matrix that the merging commands read (a row is a target, its entries are the sources' shares).
"""

if not __package__:
    import _checkout  # noqa: F401

import logging
from pathlib import Path

from auto_merge_llm.errors import InputError

from merginguriel.utils.data import language_arguments
from merginguriel.utils.data.languages import language, read_list
from merginguriel.utils.data.massive_languages import DEFAULT_LOCALES
from merginguriel.utils.flags.command import command
from merginguriel.utils.flags.parser import ArgumentParser
from merginguriel.utils.storage import argument_types

log = logging.getLogger(__name__)
DEFAULT_LOCALES_CSV = "model_mapping_unified.csv"


def build_parser():
    parser = ArgumentParser("generate_sparse_similarity_unified.py", description=__doc__)
    parser.add_argument(
        "--k",
        type=argument_types.positive_int,
        default=20,
        metavar="K",
        help="neighbours kept per row, ties at the cut included",
    )
    parser.add_argument(
        "--iterations", type=argument_types.positive_int, default=20, metavar="N", help="Sinkhorn iterations"
    )
    parser.add_argument("--feature-type", default="syntax_knn", metavar="NAME", help="lang2vec feature set")
    parser.add_argument(
        "--locales-csv",
        type=Path,
        metavar="FILE",
        help="CSV with a column 'locale' or 'language', or a list, one code a line (default: "
        f"{DEFAULT_LOCALES_CSV} if it is there, else the project's 49 locales)",
    )
    parser.add_argument(
        "--locales",
        type=language_arguments.locale_list,
        metavar="CODE,CODE,…",
        help="the languages themselves, instead of a file: af-ZA, af, afr or afr_Latn",
    )
    parser.add_argument(
        "--out-dense",
        type=Path,
        metavar="CSV",
        help="where the half cosines go",
        default=Path("language_similarity_matrix_unified.csv"),
    )
    parser.add_argument(
        "--out-sparse",
        type=Path,
        metavar="CSV",
        help="where the Sinkhorn shares go",
        default=Path("sparsed_language_similarity_matrix_unified.csv"),
    )
    return parser


def _codes(args) -> list[str]:
    default_csv = Path(DEFAULT_LOCALES_CSV)
    if args.locales:
        codes = args.locales
    elif args.locales_csv or default_csv.is_file():
        codes = read_list(args.locales_csv or default_csv, "--locales-csv")
    else:
        codes = list(DEFAULT_LOCALES)
    if len(codes) < 2:
        raise InputError("one language has no neighbours; give at least 2")
    return codes


@command
def main(argv=None):
    args = build_parser().parse_args(argv)
    if args.locales and args.locales_csv:
        raise InputError("--locales and --locales-csv exclude each other; give one")
    if args.out_dense.absolute() == args.out_sparse.absolute():
        raise InputError("--out-dense and --out-sparse are one file; give two")
    from merginguriel.utils.similarity import sparsify, uriel

    languages = [language(code) for code in _codes(args)]
    dense = uriel.dense_matrix(languages, args.feature_type)
    for one in languages:
        if one.stands_in:
            log.warning("note: %s goes by %s, since URIEL has none of its own", one.code, one.iso)
    sparse = sparsify.sparsify(dense, args.k, args.iterations)
    error = sparsify.row_error(sparse.values.T)
    if args.k >= len(languages):
        log.warning("warning: --k %d keeps every neighbour: there are only %d languages", args.k, len(languages))
    if not sparsify.has_doubly_stochastic_limit(sparse.values.T):
        log.warning(
            "warning: with --k %d these %d languages have no doubly stochastic limit: columns sum to 1 "
            "but rows never will; raise --k",
            args.k,
            len(languages),
        )
    elif error > 0.01:
        log.warning("warning: rows are still %.3f away from 1; raise --iterations or --k", error)
    dense.to_csv(args.out_dense)
    sparse.to_csv(args.out_sparse)
    print(
        f"{len(languages)} languages, {args.feature_type}, top {args.k}, {args.iterations} Sinkhorn iterations; "
        f"largest row error {error:.2e}"
    )
    print(f"dense:  {args.out_dense}\nsparse: {args.out_sparse}")


if __name__ == "__main__":
    raise SystemExit(main())
