"""Merge fine-tuned classifiers: one registry of methods, one streaming executor, every contract checked."""
