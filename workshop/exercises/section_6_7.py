"""What section 6.7 asks: to write, and to predict."""

import copy

import torch
from torch.nn import functional as F

from helpers.freezing import replace_head
from helpers.model import GPTModel
from workshop.exercises.coding import Exercise, Mistake, number_of, returned
from workshop.exercises.prediction import Number, OneOf, Question

TINY = {
    "vocab_size": 11, "context_length": 6, "emb_dim": 8, "n_heads": 2, "n_layers": 1,
    "drop_rate": 0.0, "qkv_bias": True,
}  # fmt: skip


RATE = 0.5


class _Watched(torch.optim.SGD):
    """Plain gradient descent that notes in `log` what is called."""

    def __init__(self, parameters, log):
        super().__init__(parameters, lr=RATE)
        self.log = log

    def zero_grad(self, *args, **kwargs):
        self.log.append("zero_grad")
        super().zero_grad(*args, **kwargs)

    def step(self, *args, **kwargs):
        self.log.append("step")
        return super().step(*args, **kwargs)


def _one_step(model, token_ids, labels) -> float:
    """What is asked for, of a plain gradient descent."""
    model.zero_grad()
    loss = F.cross_entropy(model(token_ids)[:, -1], labels)
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= RATE * parameter.grad
    return loss.item()


def _try_training_step(solve):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = replace_head(GPTModel(TINY))
    reference, log = copy.deepcopy(model), []
    model.out_head.weight.register_hook(lambda _: log.append("backward"))
    optimizer = _Watched(model.parameters(), log)
    batches = [
        (torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8], [9, 1, 5, 2]]), torch.tensor([0, 1, 1])),
        (torch.tensor([[4, 4, 2, 9], [3, 8, 1, 6], [7, 5, 2, 2]]), torch.tensor([1, 0, 1])),
    ]
    for number, (token_ids, labels) in enumerate(batches):
        with torch.no_grad():
            before = reference(token_ids)  # (3, 4, 2)
        expected = _one_step(reference, token_ids, labels)
        given = returned(solve(model, token_ids.clone(), labels.clone(), optimizer), "the loss")
        if number == 0:
            _look_at_the_order(log)
            _look_at_the_loss(given, expected, before, labels)
        pairs = zip(model.parameters(), reference.parameters(), strict=True)
        if not all(torch.allclose(a, b, atol=1e-4) for a, b in pairs):
            raise Mistake(
                "the first step is right, the second is not: the gradients of the batch before are "
                "still there and add up; forget them before `backward`."
                if number
                else "the weights did not move as one step moves them: take one step, with the "
                "gradients of this batch."
            )
    return "two steps of a tiny model: its losses and its weights"


def _look_at_the_order(log):
    if "backward" not in log:
        raise Mistake("no gradient was computed: `loss.backward()` is missing.")
    if "step" not in log:
        raise Mistake("no weight has moved: `optimizer.step()` is missing.")
    backward = log.index("backward")
    if log.index("step") < backward:
        raise Mistake(
            "you call `step` before `backward`: then there is no gradient yet, and nothing moves."
        )
    if "zero_grad" in log[backward : log.index("step")]:
        raise Mistake(
            "you forget the gradients after `backward`, before `step` could use them: forget those "
            "of the batch before, at the start."
        )


def _look_at_the_loss(given, expected, logits, labels):
    if isinstance(given, torch.Tensor):
        raise Mistake(
            "you return the tensor, and with it all that led to it stays in memory: `loss.item()` "
            "is the plain number."
        )
    got, every = number_of(given, "the loss"), labels[:, None].expand(logits.shape[:2])
    if abs(got - F.cross_entropy(logits.flatten(0, 1), every.flatten()).item()) < 1e-4:
        raise Mistake(
            "you averaged over all positions: only the last one's logits, `[:, -1]`, classify."
        )
    if abs(got - expected) > 1e-4:
        raise Mistake(
            "the loss is not the mean cross-entropy of the last position's logits, as it was before "
            "the step."
        )


EXERCISES = {"my_training_step": Exercise(_try_training_step)}


QUESTIONS = {
    "6.7 gradient": Question(
        "The last block, the final norm and the head are "
        "trainable. After `backward`, which of these have a gradient: the token embedding, the first block, the "
        "last block?",
        OneOf("all three", "both blocks", "the last block only", "none of them"),
        right="What is frozen gets none.",
        wrong={
            "all three": "What is frozen gets none: the book's plan freezes two of them.",
            "both blocks": "The first block is frozen, too.",
            "none of them": "Then nothing could learn.",
        },
        then="torch does not even compute its way down to the frozen part.",
    ),
    "6.7 first step": Question(
        "The loss of a batch is about 0.7 before any step. AdamW takes one step with it. What is the "
        "loss of this batch then?",
        OneOf("lower", "about as before", "higher"),
        right="So it is, and the more surprising for it.",
        wrong={
            "lower": "That is what the gradient is for, and with a tenth of the rate it would be so.",
            "about as before": "A step is small for each weight, but not for all of them together.",
        },
        then="AdamW divides each gradient by its own size, so its first step moves every trainable "
        "weight by about `lr`, however little that weight matters, and all together overshoot. The "
        "next steps make up for it.",
    ),
    "6.7 best epoch": Question(
        "Five epochs, and after each the loss of *all* validation messages. After which is it lowest?",
        OneOf("the first to the third", "the fourth", "the last"),
        right="It turns up early.",
        wrong={"else": "The training loss falls until then, the validation loss does not."},
        then="With the bundled pair it is lowest after the second epoch, .30, and at the end more than "
        "twice that, while the training loss falls to the last. The rest was learning by heart.",
    ),
    "6.7 sure mistakes": Question(
        "A mistake near p = 0.5 is a close call. Of the mistakes after the *last* epoch, how many is "
        "the model surer of than 0.9?",
        OneOf("hardly any", "about a quarter", "half or more"),
        right="They are mistakes by conviction.",
        wrong={
            "hardly any": "So it is after the second epoch: one of the 15.",
            "about a quarter": "More: training on makes the model surer of everything, mistakes too.",
        },
        then="With the bundled pair 13 of the 18. After the first epoch most of the 11 mistakes lay "
        "near p = 0.5.",
    ),
    "6.7 dear mistakes": Question(
        "A validation loss can double while the accuracy falls by three points only. How can that "
        "be?",
        OneOf("many messages cost a little more", "a few messages cost much more"),
        right="Most, 81 of 100, cost even less than before.",
        wrong={"many messages cost a little more": "No: 81 of the 100 cost less than before."},
        then="So it is here, from the best epoch to the last: 18 mistakes instead of 15, but each "
        "costs 3.5 nats on average instead of 1.4, and the dearest costs ten. −ln p counts how sure "
        "a mistake is; accuracy counts only that it is one. So the accuracy may even rise while the "
        "loss rises: some close calls turn right, and a few mistakes get surer.",
    ),
    "6.7 test accuracy": Question(
        "How many percent of the test messages does the model of the *last* epoch classify "
        "correctly?",
        Number(within=3, unit="%"),
        right="Yes, within what chance allows.",
        wrong={
            "too high": "The training messages, which it has seen, do so well; new ones do not.",
            "too low": "It does better: half would be chance.",
        },
        then="Training is usually highest, because those messages were seen. With small sets chance can "
        "turn that round, as in the book's own figures for GPT-2 124M on the SMS Spam Collection: 97.21, "
        "97.32 and 95.67 %, after the last epoch. With 200 messages, chance alone makes the test accuracy "
        "uncertain by about five points either way.\n\n"
        "So one run does not show that stopping helps. Four do a little better: with the seeds 123, 1, 2 "
        "and 3 the best epoch's test accuracy was higher than the last one's each time, on average 87 "
        "instead of 84 %.",
    ),
    "6.7 word counts": Question(
        "And how many does a method get right that only counts words, and loses their order?",
        Number(within=3, unit="%"),
        right="Yes: it is hard to beat.",
        wrong={
            "too low": "The words alone say more than one thinks: who writes *free* and *claim*?",
            "too high": "It has learned from a few hundred messages only.",
        },
        then="Counting words, in well under a second, is as good as what we trained, within what chance "
        "allows. On the SMS Spam Collection it gets 96 to 97 % (the course's tests measure it), no less "
        "than the book's 95.67 %. *Try it first, whatever you want to classify.*",
    ),
}
