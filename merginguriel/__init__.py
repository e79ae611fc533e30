"""MergingUriel: merge per-language classifiers into one for a target language."""

__version__ = "0.1.0"
