"""merginguriel/quick_plot.py, from the top of a checkout."""

from merginguriel import _checkout  # noqa: F401
from merginguriel.quick_plot import main

if __name__ == "__main__":
    raise SystemExit(main())
