"""`python -m search` is `vision-tuner`."""

from search.cli import main

if __name__ == "__main__":
    main()
