"""Wrong solutions and guesses of section 6.8, with words of what is said to each."""

HEAD = """\
import torch

def my_classify(text, model, tokenizer, max_length):
    ids = tokenizer.encode(text)
    missing = max_length - len(ids)
    row = (ids + [50256] * missing)[:max_length]
"""
CALL = """\
    model.eval()
    logits = model(torch.tensor([row]))
"""
LAST = """\
    return "spam" if logits[0, -1].argmax() == 1 else "not spam"
"""
SHARES = """\
def my_precision_recall(labels, p_spam, threshold):
    called = p_spam > threshold
    found = int((called & (labels == 1)).sum())
    num_called, num_spam = int(called.sum()), int((labels == 1).sum())
    precision = found / num_called if num_called else None
    recall = found / num_spam if num_spam else None
"""
RETURN = "    return precision, recall\n"


def row(line: str) -> str:
    """A solution with another row."""
    return f"{HEAD}    row = {line}\n{CALL}{LAST}"


def answer(line: str) -> str:
    """A solution with another answer."""
    return f"{HEAD}{CALL}    {line}\n"


def shares(old: str, new: str) -> str:
    assert old in SHARES + RETURN
    return (SHARES + RETURN).replace(old, new)


WRONG = {
    "my_classify": [
        (HEAD + '    return "spam"\n', "the model was never asked"),
        (HEAD + CALL.replace("torch.tensor([row])", "row") + LAST, "takes a tensor, and no list"),
        (HEAD + CALL.replace("[row]", "row") + LAST, "takes a batch, here of one message"),
        (row("ids + [50256] * missing"), "7 ids at a max_length of 5: cut it"),
        (row("ids[:max_length]"), "3 ids at a max_length of 5: pad it"),
        (row("(ids + [0] * missing)[:max_length]"), "you padded with 0"),
        (row("([50256] * missing + ids)[:max_length]"), "you padded on the left"),
        (row("(ids + [50256] * missing)[-max_length:]"), "you cut at the front"),
        (row("(ids[::-1] + [50256] * missing)[:max_length]"), "the model was given [13"),
        (HEAD + CALL.replace("model.eval()", "pass") + LAST, "still in training mode"),
        (answer("label = logits[0, -1].argmax()"), "it returns nothing"),
        (answer('return ["ham", "spam"][logits[0, -1].argmax()]'), "the answer is 'ham'"),
        (answer("return logits[0, -1].argmax()"), "it should be “spam” or “not spam”"),
        (answer('return ["spam", "not spam"][logits[0, -1].argmax()]'), "the labels are swapped"),
        (answer('return ["not spam", "spam"][logits[0, 0].argmax()]'), "you read the first"),
        (answer('return ["not spam", "spam"][logits[0].mean(0).argmax()]'), "last position alone"),
        (answer('return ["not spam", "spam"][logits[0, 2].argmax()]'), "last position alone"),
    ],
    "my_precision_recall": [
        (SHARES, "it returns nothing"),
        (shares("return precision, recall", "return precision"), "two numbers are due"),
        (shares("return precision, recall", "return recall, precision"), "the two are swapped"),
        (
            shares(
                "return precision", "precision = (called == labels).mean()\n    return precision"
            ),
            "where precision is due you give the accuracy",
        ),
        (
            shares("return precision", "recall = (called == labels).mean()\n    return precision"),
            "where recall is due you give the accuracy",
        ),
        (shares("labels == 1", "labels == 0").replace("> thr", "<= thr"), "recall of ham"),
        (shares("> threshold", "> 0.5"), "it still takes 0.5"),
        (shares("num_spam if", "len(labels) if"), "recall should be 0.600"),
        (shares("> threshold", ">= threshold"), "exactly the threshold is no spam"),
        (shares(" if num_called else None", ""), "there precision is a share of nothing, and you"),
        (shares(" if num_spam else None", ""), "there recall is a share of nothing, and you"),
        (shares("num_called else None", "num_called else 0.0"), "None, and not 0"),
        (
            SHARES.replace("found / num_called if num_called else None", "found / called.sum()")
            + RETURN,
            "None, and not nan",
        ),
        (shares("found / num_spam if num_spam", "found / num_spam if found"), "the other one is 0"),
    ],
}

GUESSES = {
    "6.8 a token that speaks for ham": [
        ("Your", "one of the two"),
        ("prize", "depends on its company"),
        ("now", "depends on its company"),
    ],
    "6.8 a stricter threshold": [("20 to 60", "Fewer"), ("more than 60", "Fewer")],
    "6.8 hard on purpose": [
        ("nine in ten as well", "Fewer"),
        ("three in four", "Fewer"),
    ],
    "6.8 sure and right": [
        ("99 %", "as right as it is sure"),
        ("70", "most are right"),
        ("95", "surer than it is right"),
    ],
    "6.8 words in another order": [
        ("10 to 25", "about as much as chance"),
        ("more than 25", "near guessing"),
    ],
}
