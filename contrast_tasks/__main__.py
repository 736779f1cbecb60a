"""Run the command line as `python -m contrast_tasks`."""

import sys

from contrast_tasks.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
