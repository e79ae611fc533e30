"""`python -m merginguriel <command> …`, the same as `merginguriel <command> …`."""

from merginguriel.cli import main

raise SystemExit(main())
