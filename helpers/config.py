"""The sizes of GPT-2, and where bundled and learners' files lie.

The four GPT-2 sizes are those of Radford et al. 2019, "Language Models are Unsupervised Multitask
Learners" (table 2); the dictionaries have the book's keys.
"""

import os
from pathlib import Path

from helpers.checks import one_of

ASSETS = Path(__file__).parent / "assets"

BASE_CONFIG = {
    "vocab_size": 50257,  # 256 bytes + 50,000 merges + <|endoftext|>
    "context_length": 1024,  # the most tokens in one forward pass
    "drop_rate": 0.0,
    "qkv_bias": True,  # GPT-2 adds a bias to queries, keys and values
}

MODEL_CONFIGS = {
    "gpt2-nano (12M)": {"emb_dim": 192, "n_layers": 6, "n_heads": 6},  # this course's own
    "gpt2-small (124M)": {"emb_dim": 768, "n_layers": 12, "n_heads": 12},
    "gpt2-medium (355M)": {"emb_dim": 1024, "n_layers": 24, "n_heads": 16},
    "gpt2-large (774M)": {"emb_dim": 1280, "n_layers": 36, "n_heads": 20},
    "gpt2-xl (1558M)": {"emb_dim": 1600, "n_layers": 48, "n_heads": 25},
}

BUNDLED_SIZE = "12M"
BUNDLED_CHECKPOINT = ASSETS / "gpt2" / BUNDLED_SIZE

END_OF_TEXT = 50256  # the id of <|endoftext|>; GPT-2 has no padding token, so the book pads with it

LEARNERS_FOLDER = "COURSE_FOLDER"  # the environment variable that names a folder for their files


def gpt_config(name: str) -> dict:
    """Return the configuration of the model called `name`: a new dictionary with all sizes.

    Raises ValueError for a name that is not in MODEL_CONFIGS.
    """
    one_of("the model", name, MODEL_CONFIGS)
    return BASE_CONFIG | MODEL_CONFIGS[name]


def model_size(name: str) -> str:
    """Return the size in the brackets of a model's name, such as `"124M"`: its checkpoint's folder."""
    gpt_config(name)  # refuses an unknown name
    return name.partition("(")[2].rstrip(")")


def beside_the_notebook(name: str) -> Path:
    """Return the path of a learner's file: in the folder of LEARNERS_FOLDER, or else beside the notebook."""
    return Path(os.environ.get(LEARNERS_FOLDER) or ".", name)
