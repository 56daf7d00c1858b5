"""``python -m tenfold``: the command line, for launchers that start modules."""

from tenfold.cli import main

if __name__ == "__main__":
    main()
