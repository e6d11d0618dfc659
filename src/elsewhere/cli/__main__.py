"""`python -m elsewhere.cli`."""

from __future__ import annotations

from elsewhere.cli import main

main()
