"""Wrong solutions and guesses of section 6.6, with words of what is said to each."""

POSITIONS = "import torch\ndef my_last_token_positions(token_ids, pad_token_id=50256):\n    "
LOSS = (
    "import torch\nimport torch.nn.functional as F\n"
    "def my_loss_of_last_position(logits, labels):\n    "
)
ACCURACY = "def my_accuracy(data_loader, predict_labels):\n    "
FIND = "return torch.where(token_ids != {}, torch.arange(token_ids.shape[1]), {}).amax(dim=1)"
SHARES = "shares = [(predict_labels(x) == y).float().mean().item() for x, y in data_loader]\n    "
RIGHT = "right = sum((predict_labels(x) == y).sum().item() for x, y in data_loader)\n    "

WRONG = {
    "my_last_token_positions": [
        (
            POSITIONS + "return torch.full((len(token_ids),), token_ids.shape[1] - 1)",
            "last position of every row",
        ),
        (POSITIONS + "return (token_ids != pad_token_id).sum(dim=1)", "you counted the tokens"),
        (
            POSITIONS + "return (token_ids == pad_token_id).int().argmax(dim=1)",
            "first position of the padding",
        ),
        (
            POSITIONS + "return ((token_ids != pad_token_id).int().cumprod(dim=1).sum(dim=1) - 1)",
            "a 50256 inside the message ends it too early: position 0, not 2",
        ),
        (POSITIONS + FIND.format("pad_token_id", -1), "a row of padding alone"),
        (POSITIONS + FIND.format(50256, 0), "use the argument"),
        (POSITIONS + "return torch.zeros(len(token_ids))", "of lengths 3, 1 and 5 it makes [0.0"),
        (
            POSITIONS + "token_ids[0, 0] = 0\n    " + FIND.format("pad_token_id", 0),
            "changed the token ids",
        ),
        (POSITIONS + "return 2", "should be a tensor, not a int"),
    ],
    "my_loss_of_last_position": [
        (
            LOSS + "return F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(3))",
            "you averaged over all positions",
        ),
        (LOSS + "return F.cross_entropy(logits[:, 0], labels)", "the first position"),
        (
            LOSS + "return F.cross_entropy(logits[:, -1], labels, reduction='sum')",
            "you added the losses up",
        ),
        (LOSS + "return F.cross_entropy(logits[:, -1].softmax(-1), labels)", "softmax twice"),
        (LOSS + "return -F.cross_entropy(logits[:, -1], labels)", "the sign is wrong"),
        (LOSS + "return F.cross_entropy(logits[:, -1], labels) / 0.6931472", "in bits"),
        (LOSS + "return 7", "it makes 7.000 nats, not 1."),
    ],
    "my_accuracy": [
        (ACCURACY + SHARES + "return sum(shares) / len(shares)", "is not the accuracy over both"),
        (
            ACCURACY + RIGHT + "return right / (len(data_loader) * len(data_loader[0][1]))",
            "batches times the first batch's size",
        ),
        (ACCURACY + SHARES + "return shares[-1]", "the last batch alone"),
        (ACCURACY + RIGHT + "return right", "you counted the right answers"),
        (ACCURACY + RIGHT + "return 100 * right / 6", "in percent"),
        (ACCURACY + RIGHT + "return 1 - right / 6", "you counted the mistakes"),
        (ACCURACY + RIGHT + "return right / 5", "it makes 0.800, not 0.667"),
    ],
}

GUESSES = {
    "6.6 accuracy before training": [
        ("0", "one would have to know"),
        ("100", "not seen one label"),
        ("20", "Chance alone"),
        ("80", "learned nothing about spam"),
    ],
    "6.6 a sure wrong answer": [
        ("0.99", "The logarithm makes it dearer"),
        ("2", "to the base 10"),
        ("3", "Dearer"),
        ("9", "Not as dear"),
    ],
    "6.6 loss before training": [
        ("0", "Nothing is free"),
        ("0.3", "Below ln 2"),
        ("2", "It would have to be sure"),
    ],
    "6.6 the last position": [
        ("its last word", "ends long before"),
        ("a full stop", "filled up"),
    ],
    "6.6 one token that separates": [
        ("90", "a full stop gives"),
        ("50", "Far less"),
        ("-30", "A little more"),
    ],
    "6.6 padding behind a token": [("yes", "that is the causal mask")],
    "6.6 what stays": [("yes", "Numbers flow upwards")],
    "6.6 lower loss, lower accuracy": [("no", "It can")],
}
