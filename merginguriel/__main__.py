"""`python -m merginguriel <command> …`, the same as `merginguriel <command> …`; a checkout's folder runs as well."""

if not __package__:
    import _checkout  # noqa: F401

from merginguriel.cli import main

raise SystemExit(main())
