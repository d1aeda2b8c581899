"""What a learner has solved and predicted: a small file beside the notebook, sent nowhere.

Each exercise and prediction has a name that begins with its section, "6.3 longest message". What
was solved once stays solved. The first guess of a prediction counts; it is kept as it was typed.
"""

import json
from collections import Counter

from helpers.config import beside_the_notebook
from helpers.download import whole_file

FILE = "my_progress.json"
OPEN, TRIED, SOLVED = "still open", "not right yet", "solved"  # states of an exercise
UNSAID, RIGHT, WRONG = "not answered yet", "right", "wrong"  # states of a prediction
RANK = {OPEN: 0, UNSAID: 0, TRIED: 1, SOLVED: 2, RIGHT: 2, WRONG: 2}  # replaced by a higher one

_unwritten: dict[str, list[str]] = {}  # what no file could take, until the notebook is closed


def record(name: str, state: str, guess: str = "") -> None:
    """Keep the state of an exercise, or of a prediction with its guess, unless one as good is kept."""
    kept = _kept()
    if name in kept and RANK[state] <= RANK[kept[name][0]]:
        return
    kept[name] = [state, guess]
    try:
        with whole_file(beside_the_notebook(FILE)) as part:
            part.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        _unwritten.clear()
    except OSError:
        _unwritten[name] = [state, guess]


def kept_guess(name: str) -> str:
    """Return the guess that was kept for a prediction, as it was typed; "" for none."""
    return _kept().get(name, ["", ""])[1]


def report(name: str, state: str, reply: str) -> None:
    """Print the reply to a learner, and record the state of the exercise."""
    print(reply)
    record(name, state)


def progress(section: str) -> None:
    """Print what was solved and predicted in a section's notebook."""
    entries = _kept().items()
    states = {name: state for name, (state, _) in entries if name.startswith(f"{section} ")}
    count = Counter(states.values())
    exercises = count[OPEN] + count[TRIED] + count[SOLVED]
    made = count[RIGHT] + count[WRONG]
    print(f"exercises:   {count[SOLVED]} of {exercises} solved")
    print(f"predictions: {made} of {made + count[UNSAID]} made, {count[RIGHT]} right")
    for name, state in states.items():
        print(f"    {state:<18} {name.removeprefix(section).strip()}")
    if _unwritten:
        print(f"{FILE} can't be written here: so this is forgotten when the notebook is closed.")
    elif states:
        print(f"Kept in {FILE} beside this notebook. Delete the file to start over.")


def _kept() -> dict[str, list[str]]:
    """Return all states by name, each with its guess; what is damaged in the file is left out."""
    try:
        entries = json.loads(beside_the_notebook(FILE).read_text(encoding="utf-8")).items()
    except (OSError, ValueError, AttributeError):  # no file, no JSON, no dictionary
        entries = []
    kept = {}
    for name, entry in entries:
        state, guess = entry if isinstance(entry, list) and len(entry) == 2 else (entry, "")
        if str(state) in RANK:
            kept[name] = [state, str(guess)]
    return kept | _unwritten
