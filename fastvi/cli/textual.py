"""Arguments of the commands on texts: ``lda``, ``topics``, ``transform`` and ``score``."""

from __future__ import annotations

import argparse

from fastvi.cli import parsing

__all__ = ["add_lda", "add_score", "add_topics", "add_transform"]

FORMATS = [
    "folder",
    "lines",
    "jsonl",
    "json",
    "csv",
    "tsv",
    "ldac",
    "svmlight",
    "docword",
    "mtx",
    "npz",
]
MODEL = "lda.model.npz"
AS_FITTED = "Options that are not given are those of the model's fit."
LDA = """\
Find topics: groups of words that occur in the same documents, and how much of each topic is in each
document. The score is of documents that were kept for it. Without PATH, the documents are the
docstrings of Python's standard library.

example: 30 topics of the column `body` of a CSV file, and a report to read and to mail

  fastvi lda articles.csv --field body -k 30 --html topics.html

example: how many topics? The number with the best held-out score is kept

  fastvi lda articles.csv --field body -k 10,20,50

example: topics whose words change from year to year

  fastvi lda speeches.csv --time date --slices "1 year"

The model is saved (-o). `fastvi transform` has the proportions of topics in each document.
"""
TOPICS = """\
Print the topics of a model that `fastvi lda` saved, or write pictures and reports of them.

example: a report with the documents that are typical of each topic

  fastvi topics lda.model.npz articles.csv --html topics.html
"""
TRANSFORM = """\
Infer the proportions of topics in documents, one row per document, by a model that `fastvi lda`
saved.

example: as CSV, a column per topic

  fastvi transform lda.model.npz new.csv -o proportions.csv
"""
SCORE = """\
Score new documents: half of the words of each are predicted from the other
half. The result is in nats per word; higher is better. Only scores of the same documents and
vocabulary can be compared.

example: a month of articles that came after the fit

  fastvi score lda.model.npz new.csv
"""


def _add_corpus(
    parser: argparse.ArgumentParser, n_paths: str, what: str, note: str | None = None
) -> None:
    parser.add_argument("paths", nargs=n_paths, metavar="PATH", help=what)
    group = parser.add_argument_group("reading the corpus", note)
    group.add_argument("--format", choices=FORMATS, help="by default recognised from the file")
    group.add_argument("--field", help="JSON key or CSV column of the text (default: text)")
    group.add_argument("--delimiter", metavar="CHARACTER", type=parsing.delimiter,
                       help="of CSV columns, or 'tab' (default: detected)")  # fmt: skip
    group.add_argument("--encoding", help="of text (default: utf-8)")
    group.add_argument("--token-pattern", metavar="REGEX",
                       help="what a word is (default: three letters of any script, fewer if "
                            "letters are syllables)")  # fmt: skip
    group.add_argument("--lowercase", action=argparse.BooleanOptionalAction,
                       help="convert texts to lower case (default: yes)")  # fmt: skip
    group.add_argument("--normal-form", choices=("NFC", "NFD", "NFKC", "NFKD", "none"),
                       help="of Unicode, for texts (default: NFC)")  # fmt: skip
    group.add_argument("--zero-based", action=argparse.BooleanOptionalAction,
                       help="svmlight columns count from 0 (default: if a 0 occurs)")  # fmt: skip
    group.add_argument("--stop-words", default="auto", metavar="WHICH",
                       help="english, none, or a file with one word per line "
                            "(default: english for text)")  # fmt: skip
    group.add_argument("--vocabulary", metavar="FILE", help="words, one per line")


def _add_model(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model")
    model.add_argument("--model", choices=("lda", "dynamic", "correlated", "hdp"),
                       help="latent Dirichlet allocation (the default), topics that change over "
                            "time, correlated topics, or their number from the data")  # fmt: skip
    model.add_argument("--time", metavar="FIELD",
                       help="JSON key or CSV column of each document's time, a number or a date; "
                            "topics change over time")  # fmt: skip
    model.add_argument("--slices", type=parsing.slices, metavar="WIDTH",
                       help="of time: a number of slices (10), their width (10.0), or for dates a "
                            "width such as '10 years' (default: each time is one)")  # fmt: skip
    model.add_argument("--drift", action="store_true",
                       help="of words over time, in all topics alike")  # fmt: skip
    model.add_argument("--covariates", type=parsing.names, metavar="FIELD[,FIELD...]",
                       help="keys or columns of numbers or labels on which topics' shares depend; "
                            "topics are correlated")  # fmt: skip


def add_lda(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``fastvi lda``."""
    parsing.described(parser, LDA)
    _add_corpus(
        parser, "*", "folder of texts, text with one document per line, JSON, CSV, LDA-C, "
        "svmlight, UCI docword, Matrix Market or npz; by default the docstrings of the standard "
        "library"
    )  # fmt: skip
    _add_pruning(parser)
    _add_model(parser)
    _add_fitting(parser)
    _add_output(parser)


def _add_pruning(parser: argparse.ArgumentParser) -> None:
    pruning = parser.add_argument_group("vocabulary pruning")
    pruning.add_argument("--min-df", type=parsing.limit, default="auto", metavar="N",
                         help="drop words in fewer documents (a number or a share)")  # fmt: skip
    pruning.add_argument("--max-df", type=parsing.limit, default="auto", metavar="N",
                         help="drop words in more documents (a number or a share)")  # fmt: skip
    pruning.add_argument("--max-features", type=int, metavar="N",
                         help="keep the N most frequent words")  # fmt: skip


def _add_fitting(parser: argparse.ArgumentParser) -> None:
    fit = parser.add_argument_group("fitting")
    fit.add_argument("-k", "--topics", type=parsing.numbers, metavar="K[,K...]",
                     help="number of topics (default: 20; hdp: at most 150); of several, such "
                          "as 10,20,50, the one with the best held-out score is kept")  # fmt: skip
    fit.add_argument("--passes", type=parsing.passes, default="auto", metavar="N",
                     help="auto: until a pass gains less than 0.002 nats per word, at most 100 "
                          "(default: %(default)s)")  # fmt: skip
    fit.add_argument("--solver", choices=("auto", "cvb", "cvb0", "scvb0", "svi", "vb"),
                     default="auto",
                     help="auto: cvb0, the fastest, or for large corpora its mini-batch form "
                          "scvb0; cvb: its second-order form; vb and svi: "
                          "variational Bayes")  # fmt: skip
    fit.add_argument("--alpha", type=float, metavar="X",
                     help="prior of topic proportions (default: 1 / topics)")  # fmt: skip
    fit.add_argument("--eta", type=float, metavar="X",
                     help="prior of topics (default: 1 / topics)")  # fmt: skip
    fit.add_argument("--learn-priors", action="store_true", help="fit both priors to the corpus")
    fit.add_argument("--batch-size", type=int, metavar="N", help="documents in a mini-batch")
    fit.add_argument("--learning-offset", type=float, metavar="TAU",
                     help="steps are (TAU + t) ** -KAPPA")  # fmt: skip
    fit.add_argument("--learning-decay", type=float, default=0.7, metavar="KAPPA",
                     help="in (0.5, 1] (default: %(default)s)")  # fmt: skip
    fit.add_argument("--optimizer", metavar="NAME",
                     help="for svi and scvb0: a rate, adaptive, adagrad, rmsprop, adam or amsgrad "
                          "(default: steps as above)")  # fmt: skip
    fit.add_argument("--sampling", default="uniform",
                     choices=("uniform", "replacement", "importance", "adaptive", "growing",
                              "coupled"),
                     help="how svi and scvb0 draw documents (default: %(default)s)")  # fmt: skip
    fit.add_argument("--threads", type=int, default=-1, metavar="N",
                     help="results do not depend on it (default: all cores)")  # fmt: skip
    fit.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    fit.add_argument("--held-out", type=float, default=0.1, metavar="SHARE",
                     help="documents kept for scoring (default: %(default)s)")  # fmt: skip
    fit.add_argument("--early-stopping", type=int, metavar="N",
                     help="stop after N passes without a better held-out score, and keep the best "
                          "(default: no)")  # fmt: skip
    fit.add_argument("--stream", action=argparse.BooleanOptionalAction,
                     help="shuffle the corpus on disk (default: if it is large)")  # fmt: skip
    fit.add_argument("--checkpoint", metavar="FILE", help="save the fit's state at intervals")
    fit.add_argument("--checkpoint-interval", type=float, default=60.0, metavar="SECONDS",
                     help="(default: %(default)s)")  # fmt: skip
    fit.add_argument("--resume", action="store_true",
                     help="continue from the checkpoint, with the same bits")  # fmt: skip


def _add_output(parser: argparse.ArgumentParser) -> None:
    out = parser.add_argument_group("output")
    out.add_argument(
        "-o", "--output", default=MODEL, metavar="MODEL", help="(default: %(default)s)"
    )
    out.add_argument(
        "--top-words", type=int, default=10, metavar="N", help="(default: %(default)s)"
    )
    out.add_argument("--json", action="store_true", help="print JSON instead of tables")
    out.add_argument("--plot", metavar="FILE", help="plot topics and scores (needs matplotlib)")
    out.add_argument("--html", metavar="FILE", help="write a report on the topics for browsers")
    out.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_fields(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--time", metavar="FIELD", help=f"of the documents' times. {AS_FITTED}")
    parser.add_argument(
        "--covariates", type=parsing.names, metavar="FIELD[,FIELD...]", help="likewise"
    )


def add_topics(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``fastvi topics``."""
    parsing.described(parser, TOPICS)
    parser.add_argument("model", metavar="MODEL", help="file that `fastvi lda` wrote")
    _add_corpus(parser, "*", "documents for the report, usually those of the fit", AS_FITTED)
    _add_fields(parser)
    parser.add_argument("--html", metavar="FILE",
                        help="write a report for browsers: topics, a map, and with a PATH their "
                             "coherence and best documents")  # fmt: skip
    parser.add_argument("--threads", type=int, default=-1, metavar="N")
    parser.add_argument("--top-words", type=int, default=10, metavar="N", help="(default: 10)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", metavar="FILE", help="plot them (needs matplotlib)")


def add_transform(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``fastvi transform``."""
    parsing.described(parser, TRANSFORM)
    parser.add_argument("model", metavar="MODEL", help="file that `fastvi lda` wrote")
    _add_corpus(parser, "+", "documents, in any format that `fastvi lda` reads", AS_FITTED)
    _add_fields(parser)
    parser.add_argument("-o", "--output", metavar="FILE",
                        help=".npz or .csv (default: CSV to standard output)")  # fmt: skip
    parser.add_argument("--threads", type=int, default=-1, metavar="N")


def add_score(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``fastvi score``."""
    parsing.described(parser, SCORE)
    parser.add_argument("model", metavar="MODEL", help="file that `fastvi lda` wrote")
    _add_corpus(parser, "+", "new documents", AS_FITTED)
    _add_fields(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the split into halves (default: 0)")
    parser.add_argument("--threads", type=int, default=-1, metavar="N")
    parser.add_argument("--json", action="store_true")
