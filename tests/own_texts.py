"""What the tests of one's own classes share: a small table of three easy classes."""

import random
from pathlib import Path

import pandas as pd

WORDS = {
    "fruit": ["apple", "pear", "plum", "sweet", "ripe", "juice"],
    "sport": ["ball", "goal", "team", "run", "score", "match"],
    "weather": ["rain", "wind", "snow", "cloud", "cold", "storm"],
}


def own_table(per_class: int = 30) -> pd.DataFrame:
    """Different texts of four to six words, so many of each class."""
    rng, rows = random.Random(0), []
    for topic, words in WORDS.items():
        for i in range(per_class):
            rows.append((f"{' '.join(rng.choices(words, k=rng.randint(3, 5)))} {i}", topic))
    return pd.DataFrame(rows, columns=["text", "topic"])


def own_file(folder: Path, name: str = "mine.csv", **columns: str) -> Path:
    """Write the table into a CSV file; `columns` are other names for its two columns."""
    path = folder / name
    own_table().rename(columns=columns).to_csv(path, index=False)
    return path
