"""The commands of `python -m helpers`, one in each file."""
