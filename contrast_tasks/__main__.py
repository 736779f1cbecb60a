"""Run the command line as `python -m contrast_tasks`."""

import sys

if __name__ == "__main__":
    try:
        from contrast_tasks.cli.main import main
    except KeyboardInterrupt:
        # Until it is there, nobody else answers an interrupt.
        sys.stderr.write("contrast-tasks: interrupted\n")
        sys.exit(130)
    sys.exit(main())
