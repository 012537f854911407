"""``python -m encollapse``."""

from encollapse.cli import main

if __name__ == "__main__":
    main()
