"""Wrong steps and guesses of section 6.7, and what is said to them."""

HEAD = """
import torch

def my_training_step(model, token_ids, labels, optimizer):
"""
LOSS = "    loss = torch.nn.functional.cross_entropy(model(token_ids)[:, -1], labels)\n"


def step(*lines: str) -> str:
    return HEAD + "".join(LOSS if line == "loss" else f"    {line}\n" for line in lines)


ZERO, BACK, STEP, RETURN = (
    "optimizer.zero_grad()",
    "loss.backward()",
    "optimizer.step()",
    "return loss.item()",
)
WRONG = {
    "my_training_step": [
        (step("loss", BACK, STEP, RETURN), "are still there and add up"),
        (step(ZERO, "loss", RETURN), "`loss.backward()` is missing"),
        (step(ZERO, "loss", BACK, RETURN), "`optimizer.step()` is missing"),
        (step(ZERO, "loss", STEP, BACK, RETURN), "you call `step` before `backward`"),
        (step("loss", BACK, ZERO, STEP, RETURN), "before `step` could use them"),
        (step(ZERO, "loss", BACK, STEP, "return loss"), "all that led to it stays in memory"),
        (step(ZERO, "loss", BACK, STEP), "returns nothing where the loss is due"),
        (step(ZERO, "loss", BACK, STEP, STEP, RETURN), "as one step moves them"),
        (
            step(
                ZERO,
                "every = labels[:, None].expand(token_ids.shape).flatten()",
                "logits = model(token_ids).flatten(0, 1)",
                "loss = torch.nn.functional.cross_entropy(logits, every)",
                BACK,
                STEP,
                RETURN,
            ),
            "you averaged over all positions",
        ),
        (
            step(ZERO, "loss", BACK, STEP, "return 10 * loss.item()"),
            "the loss is not the mean cross-entropy",
        ),
        (
            step(ZERO, "loss = torch.nn.functional.cross_entropy(model(token_ids), labels)", BACK),
            "Expected target size",
        ),
    ],
}
GUESSES = {
    "6.7 gradient": [
        ("all three", "freezes two of them"),
        ("both blocks", "The first block is frozen, too"),
        ("none of them", "Then nothing could learn"),
    ],
    "6.7 first step": [
        ("lower", "with a tenth of the rate it would be so"),
        ("about as before", "not for all of them together"),
    ],
    "6.7 best epoch": [
        ("the fourth", "the validation loss does not"),
        ("the last", "the validation loss does not"),
    ],
    "6.7 sure mistakes": [
        ("hardly any", "one of the 15"),
        ("about a quarter", "surer of everything"),
    ],
    "6.7 dear mistakes": [
        ("many messages cost a little more", "81 of the 100 cost less than before")
    ],
    "6.7 test accuracy": [
        ("99", "which it has seen"),
        ("50", "half would be chance"),
        ("70", "It does better"),
    ],
    "6.7 word counts": [
        ("60", "The words alone say more"),
        ("75", "more than one thinks"),
        ("99", "from a few hundred messages only"),
    ],
}
