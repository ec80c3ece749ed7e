"""Entry point of `python -m lrsearch`."""

import sys

from lrsearch.cli import main

if __name__ == "__main__":
    sys.exit(main())
