"""``python -m encollapse.cli``."""

from encollapse.cli import main

if __name__ == "__main__":
    main()
