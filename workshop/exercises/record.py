"""What a learner has solved and predicted: a small file beside the notebook, sent nowhere.

Each exercise and prediction has a name that begins with its section, "6.3 longest message". What
was solved once stays solved, and of a prediction the first guess counts.
"""

import json

from helpers.config import beside_the_notebook
from helpers.download import whole_file

FILE = "my_progress.json"


OPEN, TRIED, SOLVED = "still open", "not right yet", "solved"  # an exercise


UNSAID, RIGHT, WRONG = "not predicted yet", "as predicted", "came otherwise"  # a prediction


RANK = {OPEN: 0, TRIED: 1, SOLVED: 2, UNSAID: 0, RIGHT: 2, WRONG: 2}  # only a higher one is taken


_unwritten: dict[str, str] = {}  # what no file could take, until the notebook is closed


def record(name: str, state: str) -> None:
    """Keep the state of an exercise or a prediction, unless one as good is kept already."""
    kept = _kept()
    if name in kept and RANK[state] <= RANK[kept[name]]:
        return
    kept[name] = state
    try:
        with whole_file(beside_the_notebook(FILE)) as part:
            part.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    except OSError:
        _unwritten[name] = state
    else:
        _unwritten.clear()


def progress(section: str) -> None:
    """Print what was solved and predicted in a section's notebook, of all whose cells have run."""
    states = {name: state for name, state in _kept().items() if name.split()[0] == section}
    exercises = [state for state in states.values() if state in (OPEN, TRIED, SOLVED)]
    predictions = [state for state in states.values() if state in (UNSAID, RIGHT, WRONG)]
    made = len(predictions) - predictions.count(UNSAID)
    print(f"exercises:   {exercises.count(SOLVED)} of {len(exercises)} solved")
    print(f"predictions: {made} of {len(predictions)} made, {predictions.count(RIGHT)} came true")
    for name, state in states.items():
        print(f"    {state:<18} {name.removeprefix(section).strip()}")
    if _unwritten:
        print(f"{FILE} can't be written here: this is forgotten when the notebook is closed.")
    elif states:
        print(f"Kept in {FILE} beside this notebook; delete it to begin anew.")


def _kept() -> dict[str, str]:
    """Return all states; a file that is none of ours counts as none."""
    try:
        kept = json.loads(beside_the_notebook(FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = {}
    kept = kept if isinstance(kept, dict) else {}
    own = {name: s for name, s in kept.items() if name.strip() and isinstance(s, str) and s in RANK}
    return own | _unwritten
