"""The sizes of GPT-2, and where the course keeps what it carries along.

The four GPT-2 sizes are those of Radford et al. 2019, "Language Models are Unsupervised
Multitask Learners" (table 2); the dictionaries have the keys that the book gives them.
"""

import os
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"


BASE_CONFIG = {
    "vocab_size": 50257,  # 256 bytes + 50,000 merges + <|endoftext|>
    "context_length": 1024,  # the most tokens that one forward pass can take
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


def gpt_config(name: str) -> dict:
    """Return a new dictionary: BASE_CONFIG and the sizes of the model called `name`.

    Raises ValueError for a name that is not in MODEL_CONFIGS.
    """
    if not isinstance(name, str) or name not in MODEL_CONFIGS:
        raise ValueError(
            f"unknown model {name!r}; choose one of {', '.join(map(repr, MODEL_CONFIGS))}"
        )
    return BASE_CONFIG | MODEL_CONFIGS[name]


def model_size(name: str) -> str:
    """Return the part in brackets, which is the checkpoint's folder name: `"124M"`."""
    gpt_config(name)  # refuses an unknown name
    return name.partition("(")[2].rstrip(")")


LEARNERS_FOLDER = (
    "COURSE_FOLDER"  # the environment variable with the folder for what a learner keeps
)


def beside_the_notebook(name: str) -> Path:
    """Return where a learner's own file lies: in LEARNERS_FOLDER, if it is set, else beside the notebook."""
    return Path(os.environ.get(LEARNERS_FOLDER) or ".", name)
