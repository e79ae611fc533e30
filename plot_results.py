"""merginguriel/plot_results.py, from the top of a checkout."""

from merginguriel import _checkout  # noqa: F401
from merginguriel.plot_results import main

if __name__ == "__main__":
    raise SystemExit(main())
