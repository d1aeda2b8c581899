"""Wrong solutions and guesses of section 6.5, with words of what is said to each."""

FREEZE = "def my_freeze(model, trainable):\n    "
COUNT = "def my_count_trainable(model):\n    "
BLOCKS = "def my_frozen_blocks(trainable, n_layers):\n    "


def freeze(learns: str) -> str:
    return (
        FREEZE + "for name, p in model.named_parameters():\n        "
        f"p.requires_grad = any({learns} for part in trainable)\n"
    )


def blocks(lines: str) -> str:
    return BLOCKS + lines.replace("\n", "\n    ") + "\n"


RIGHT = "name == part or name.startswith(part + '.')"
NO_EMBEDDING = "if {'tok_emb', 'pos_emb'} & trainable:\n    return 0\n"
NUMBERS = "numbers = [int(name.split('.')[1]) for name in trainable if name[:3] == 'trf']\n"

WRONG = {
    "my_freeze": [
        (
            FREEZE + "for name, module in model.named_modules():\n"
            "        module.requires_grad = name in trainable\n",
            "you set the flag on modules",
        ),
        (FREEZE + "return [name for name, p in model.named_parameters()]", "nothing was frozen"),
        (freeze(RIGHT).replace("= any", "= not any"), "the wrong way round"),
        (freeze("name.startswith(part)"), "it also takes trf_blocks.10"),
        (freeze("name == part"), "goes on after the part's"),
        (
            FREEZE + "for name, p in model.named_parameters():\n        "
            f"if not any({RIGHT} for part in trainable):\n            p.requires_grad = False\n",
            "never thaws again",
        ),
        (
            FREEZE + "first = all(p.requires_grad for p in model.parameters())\n"
            "    for name, p in model.named_parameters():\n"
            f"        learns = any({RIGHT} for part in trainable)\n"
            "        p.requires_grad = learns if first else p.requires_grad or learns\n",
            "what learned before still learns",
        ),
        (freeze("name.startswith(part + '.')"), "the flag of tok_emb.weight should be True"),
    ],
    "my_count_trainable": [
        (COUNT + "count = 0\n", "it returns nothing"),
        (COUNT + "return [p.numel() for p in model.parameters()]", "should be a number"),
        (COUNT + "return sum(p.requires_grad for p in model.parameters())", "counted tensors"),
        (COUNT + "return sum(p.numel() for p in model.parameters())", "the frozen ones, too"),
        (
            COUNT + "return sum(p.numel() for p in model.parameters() if not p.requires_grad)",
            "not those that learn",
        ),
        (
            COUNT + "ps = [p for p in model.parameters() if p.requires_grad]\n"
            "    return sum(p.numel() for p in ps if p.ndim == 2)",
            "14 parameters learn; your count is 10",
        ),
        (
            COUNT + "n = sum(p.numel() for p in model.parameters() if p.requires_grad)\n"
            "    return n or 36",
            "should be 0, not 36",
        ),
    ],
    "my_frozen_blocks": [
        (blocks("numbers = sorted(trainable)"), "it returns nothing"),
        (
            blocks(
                NO_EMBEDDING + "return sum(f'trf_blocks.{i}' not in trainable "
                "for i in range(n_layers))"
            ),
            "counts every frozen block",
        ),
        (blocks(NUMBERS + "return min(numbers, default=n_layers)"), "an embedding learns"),
        (
            blocks(NO_EMBEDDING + NUMBERS + "return min(numbers, default=n_layers - 1) + 1"),
            "below block i lie i blocks",
        ),
        (
            blocks(NO_EMBEDDING + NUMBERS + "return min(numbers, default=n_layers + 1) - 1"),
            "below block i lie i blocks",
        ),
        (
            blocks(
                NO_EMBEDDING + "for i in range(n_layers):\n    if f'trf_blocks.{i}' in trainable:"
                "\n        return i\nreturn n_layers"
            ),
            "only a piece learns",
        ),
        (
            blocks(
                NO_EMBEDDING + "names = sorted(n for n in trainable if n[:3] == 'trf')\n"
                "return int(names[0].split('.')[1]) if names else n_layers"
            ),
            "block 9 lies below block 10",
        ),
        (
            blocks(NO_EMBEDDING + NUMBERS + "return min(numbers, default=0)"),
            "it should be 6, not 0",
        ),
    ],
}

GUESSES = {
    "6.5 the shape with the old head": [
        ("(1, 50257)", "Every token gets its own row"),
        ("(1, 4, 192)", "That goes into the head"),
        ("1, 4", "That went in"),
        ("(4, 50257)", "One message, four tokens"),
    ],
    "6.5 the shape with the new head": [
        ("(1, 2)", "a row of its own"),
        ("(1, 4, 50257)", "That was the old head"),
        ("(4, 2)", "a score for either class"),
    ],
    "6.5 the share that learns": [
        ("17", "One block of six"),
        ("1 %", "the last block alone"),
        ("50", "Less: three quarters"),
    ],
    "6.5 the first block in place of the last": [
        ("1", "a longer way"),
        ("6", "Six blocks in the place of one"),
        ("2", "crosses five blocks more"),
        ("10", "only crossed costs about half"),
    ],
    "6.5 two blocks": [
        ("445,634", "the choice with one block"),
        ("600000", "add one more block"),
        ("2,000,000", "a second block of the same size"),
    ],
    "6.5 where running once saves nothing": [
        ("head only", "it saves most"),
        ("the book's choice", "It saves much there"),
    ],
    "6.5 weights that are zero": [
        ("0", "may not look ahead"),
        ("10", "So many are left"),
        ("4", "More: the first token"),
        ("12", "Fewer: each token"),
    ],
    "6.5 rows that stay": [
        ("0", "cannot see the last one"),
        ("1", "the other way round"),
        ("2", "More: whoever"),
        ("4", "Fewer: the last row"),
    ],
}
