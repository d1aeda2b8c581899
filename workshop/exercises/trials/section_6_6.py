"""The trials of section 6.6: the loss, the accuracy, and the last real token."""

import math

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from helpers.config import END_OF_TEXT
from helpers.training import last_token_positions
from workshop.exercises.mistakes import Exercise, Mistake, expect, rows

# --- the last real token --------------------------------------------------------------------------

# token ids, and with which id they are padded. A message never holds 50256; but 0 is also "!"
PADDED = (
    (rows("5 6 7 50256 50256; 8 9 5 6 7; 50256 50256 50256 50256 50256"),),
    (rows("5 0 0 7 0 0; 0 6 0 0 0 0; 5 0 7 8 9 6; 0 0 0 0 0 0"), 0),
    (rows("1 7 7 2; 3 7 7 7"), 7),
)


def padding_mask(token_ids, pad_token_id):
    """Return which token ids (b, n) are not padding: bool (b, n), True also for "!" in between."""
    return (token_ids != pad_token_id).flip(1).cumsum(1).flip(1) > 0


def first_padding(token_ids, pad_token_id) -> torch.Tensor:
    """Return where `argmax` finds the first padding id of each row, (b,); 0 where there is none."""
    return (token_ids == pad_token_id).int().argmax(1)


POSITION_MISTAKES = (
    (
        "that is the last position of every row, which is padding in a padded row.",
        lambda ids, pad=END_OF_TEXT: [ids.shape[1] - 1] * len(ids),
    ),
    (
        "you counted the tokens. Positions begin at 0, so the last one is one lower.",
        lambda ids, pad=END_OF_TEXT: padding_mask(ids, pad).sum(1),
    ),
    (
        "you counted the tokens. Positions begin at 0, so the last one is one lower; and a padding "
        "id inside a message is not counted (with pad_token_id=0 that can be a “!”).",
        lambda ids, pad=END_OF_TEXT: (ids != pad).sum(1),
    ),
    (
        "that is the first position of the padding. The last token is one before.",
        lambda ids, pad=END_OF_TEXT: first_padding(ids, pad),
    ),
    (
        "a padding id inside a message ends it too early. With pad_token_id=0 that can be a “!”.",
        lambda ids, pad=END_OF_TEXT: (ids != pad).cumprod(1).sum(1).sub(1).clamp(min=0),
    ),
    (
        "a padding id inside a message is not counted. With pad_token_id=0 that can be a “!”.",
        lambda ids, pad=END_OF_TEXT: (ids != pad).sum(1).sub(1).clamp(min=0),
    ),
    (
        "every position is one too high. The first position is 0.",
        lambda ids, pad=END_OF_TEXT: last_token_positions(ids, pad) + 1,
    ),
    (
        "in a row of padding alone there is no last token. Return 0 there, not −1.",
        lambda ids, pad=END_OF_TEXT: padding_mask(ids, pad).sum(1) - 1,
    ),
    (
        "a padding id inside a message is not counted (with pad_token_id=0 that can be a “!”), and "
        "a row of padding alone gives −1 instead of 0.",
        lambda ids, pad=END_OF_TEXT: (ids != pad).sum(1) - 1,
    ),
    (
        "a padding id inside a message ends it too early (with pad_token_id=0 that can be a “!”), "
        "and a row of padding alone gives −1 instead of 0.",
        lambda ids, pad=END_OF_TEXT: (ids != pad).cumprod(1).sum(1) - 1,
    ),
    (
        "you looked for the first padding id. A row without padding has none, and with "
        "pad_token_id=0 it can be a “!” inside a message.",
        lambda ids, pad=END_OF_TEXT: first_padding(ids, pad) - 1,
    ),
    (
        "these are the ids of the last tokens. Return their positions.",
        lambda ids, pad=END_OF_TEXT: ids.gather(1, last_token_positions(ids, pad)[:, None])[:, 0],
    ),
    (
        "you took the largest of each column. Take that of each row, with `dim=1`.",
        lambda ids, pad=END_OF_TEXT: torch.where(ids != pad, torch.arange(ids.shape[1]), 0).amax(0),
    ),
    (
        "it always looks for 50256. Use the argument `pad_token_id`.",
        lambda ids, pad=END_OF_TEXT: last_token_positions(ids),
    ),
)


def try_last_token_positions(solve) -> str:
    """`solve` takes token ids (batch, num_tokens) and returns positions (batch,)."""
    for got in expect(solve, PADDED, last_token_positions, POSITION_MISTAKES):
        if torch.as_tensor(got).dtype.is_floating_point:
            raise Mistake(
                "the positions are floating-point numbers, and only whole numbers can be an index."
            )
    return "rows with and without padding, three padding ids, a row of padding alone"


# --- the loss -------------------------------------------------------------------------------------


def loss_of_last_position(logits, labels) -> torch.Tensor:
    """Return the mean cross-entropy at the last position: (b, n, 2) and (b,) → ()."""
    return F.cross_entropy(logits[:, -1], labels)


def probabilities_of(logits, labels) -> torch.Tensor:
    """Return the probabilities of the labels at the last position, (b,)."""
    return logits[:, -1].softmax(-1)[torch.arange(len(labels)), labels]


def loss_of_all_positions(logits, labels) -> torch.Tensor:
    """Return the mean over all positions, as if each of them classified."""
    return F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(logits.shape[1]))


def loss_of_mean_logits(logits, labels) -> torch.Tensor:
    """Return the loss of the mean of the logits over the positions."""
    return F.cross_entropy(logits.mean(1), labels)


def loss_of_first_position(logits, labels) -> torch.Tensor:
    """Return the loss at the first position."""
    return F.cross_entropy(logits[:, 0], labels)


def summed_loss(logits, labels) -> torch.Tensor:
    """Return the sum of the losses, not their mean."""
    return F.cross_entropy(logits[:, -1], labels, reduction="sum")


def loss_of_probabilities(logits, labels) -> torch.Tensor:
    """Return the loss where softmax is applied twice."""
    return F.cross_entropy(logits[:, -1].softmax(-1), labels)


def loss_of_wrong_classes(logits, labels) -> torch.Tensor:
    """Return the loss where ham is taken for spam, and spam for ham."""
    return F.cross_entropy(logits[:, -1], 1 - labels)


LOSS_MISTAKES = (
    (
        "you averaged over all positions. Only the last one classifies.",
        loss_of_all_positions,
    ),
    (
        "you averaged the logits over the positions. Take those of the last position.",
        loss_of_mean_logits,
    ),
    ("that is the loss at the first position.", loss_of_first_position),
    (
        "`logits[:, :, -1]` are the logits of spam at all positions. The position is the second "
        "dimension: `logits[:, -1]`.",
        lambda logits, labels: F.cross_entropy(logits[:, :, -1], labels),
    ),
    (
        "you added the losses up. Take their mean; otherwise a larger batch has a larger loss.",
        summed_loss,
    ),
    (
        "you applied softmax twice: `cross_entropy` takes the logits, and includes softmax.",
        loss_of_probabilities,
    ),
    (
        "the logarithm is missing: the loss is minus the *logarithm* of the probability. "
        "`cross_entropy` takes the logits, and computes softmax and logarithm.",
        lambda logits, labels: F.nll_loss(logits[:, -1].softmax(-1), labels),
    ),
    (
        "`nll_loss` takes logarithms of probabilities; you gave it logits. `cross_entropy` takes "
        "those.",
        lambda logits, labels: F.nll_loss(logits[:, -1], labels),
    ),
    (
        "that is in bits, with a logarithm of base 2. A loss in nats has the natural logarithm.",
        lambda logits, labels: loss_of_last_position(logits, labels) / math.log(2),
    ),
    (
        "the sign is wrong: the loss is *minus* the logarithm.",
        lambda logits, labels: -loss_of_last_position(logits, labels),
    ),
    (
        "the classes are swapped: you took the probability of the wrong one.",
        loss_of_wrong_classes,
    ),
    (
        "that is the mean probability. The loss is minus the logarithm of each, and then the mean.",
        lambda logits, labels: probabilities_of(logits, labels).mean(),
    ),
    (
        "you took the logarithm of the mean. Take the logarithm of each probability, then the mean.",
        lambda logits, labels: -probabilities_of(logits, labels).mean().log(),
    ),
    (
        "you took the probability of spam for every message. Take that of the message's label.",
        lambda logits, labels: F.cross_entropy(logits[:, -1], torch.ones_like(labels)),
    ),
    (
        "you took the probability of ham for every message. Take that of the message's label.",
        lambda logits, labels: F.cross_entropy(logits[:, -1], torch.zeros_like(labels)),
    ),
    (
        "you took the probability of the predicted class. Take that of the message's label.",
        lambda logits, labels: F.cross_entropy(logits[:, -1], logits[:, -1].argmax(-1)),
    ),
)


def batches_of_logits() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return logits (b, n, 2) and labels (b,) of three batches of different sizes."""
    generator = torch.Generator().manual_seed(3)
    labels = ([1, 0], [0, 1, 1, 0, 0], [1, 1, 0])
    sizes = [(len(entries), n, 2) for entries, n in zip(labels, (3, 6, 4), strict=True)]
    logits = [2 * torch.randn(size, generator=generator) for size in sizes]
    return list(zip(logits, map(torch.tensor, labels), strict=True))


def try_loss_of_last_position(solve) -> str:
    """`solve` takes logits (batch, num_tokens, 2) and labels (batch,); it returns a mean loss."""
    expect(solve, batches_of_logits(), loss_of_last_position, LOSS_MISTAKES)
    return "three batches of different sizes"


# --- the accuracy ---------------------------------------------------------------------------------


def accuracy(data_loader, predict_labels) -> float:
    """Return the fraction of all messages that are labelled correctly."""
    return mean_of(right_by_batch(data_loader, predict_labels))


def counted(loader, predict) -> tuple[torch.Tensor, torch.Tensor]:
    """Return predicted and correct labels of all messages, (num_messages,) each."""
    batches = [(predict(token_ids), labels) for token_ids, labels in loader]
    predicted, labels = zip(*batches, strict=True)
    return torch.cat(predicted), torch.cat(labels)


def right_by_batch(loader, predict) -> list[torch.Tensor]:
    """Return for each batch which messages are labelled correctly."""
    return [predict(token_ids) == labels for token_ids, labels in loader]


def mean_of(batches) -> float:
    """Return the fraction that is true in several batches."""
    entries = torch.cat(batches)
    return over(entries, len(entries))


def over(numerator, denominator) -> float:
    """Return a fraction of two counts."""
    return numerator.sum().item() / int(denominator)


def spam_found(loader, predict) -> torch.Tensor:
    """Return which messages are spam and predicted as spam."""
    predicted, labels = counted(loader, predict)
    return (predicted == 1) & (labels == 1)


ACCURACY_MISTAKES = (
    (
        "the mean of the batches' accuracies is not the accuracy over all messages: the last batch "
        "is smaller.",
        lambda loader, predict: torch.stack(
            [batch.float().mean() for batch in right_by_batch(loader, predict)]
        ).mean(),
    ),
    (
        "you divided by the number of batches times the batch size. The last batch is smaller.",
        lambda loader, predict: over(
            torch.cat(right_by_batch(loader, predict)), len(loader) * loader.batch_size
        ),
    ),
    (
        "that is the last batch alone. Count over all of them.",
        lambda loader, predict: mean_of(right_by_batch(loader, predict)[-1:]),
    ),
    (
        "it returns after the first batch: the `return` is inside the loop.",
        lambda loader, predict: mean_of(right_by_batch(loader, predict)[:1]),
    ),
    (
        "you counted the correct labels. Divide by the number of messages.",
        lambda loader, predict: torch.cat(right_by_batch(loader, predict)).sum(),
    ),
    (
        "that is in percent. A fraction lies between 0 and 1.",
        lambda loader, predict: 100 * mean_of(right_by_batch(loader, predict)),
    ),
    (
        "it is 1 where every label is correct, and otherwise 0, as with `//`, which drops the "
        "decimals. Divide with `/`.",
        lambda loader, predict: torch.cat(right_by_batch(loader, predict)).all(),
    ),
    (
        "you counted the mistakes.",
        lambda loader, predict: 1 - mean_of(right_by_batch(loader, predict)),
    ),
    (
        "that is the fraction of messages predicted as spam. Compare the predictions with the "
        "labels.",
        lambda loader, predict: counted(loader, predict)[0].float().mean(),
    ),
    (
        "that is the fraction of spam among the labels. Ask `predict_labels` for predictions.",
        lambda loader, predict: counted(loader, predict)[1].float().mean(),
    ),
    (
        "you divided by the number of token ids. Divide by the number of messages.",
        lambda loader, predict: over(
            torch.cat(right_by_batch(loader, predict)), loader.dataset.tensors[0].numel()
        ),
    ),
    (
        "you divided by the number of batches. Divide by the number of messages.",
        lambda loader, predict: over(torch.cat(right_by_batch(loader, predict)), len(loader)),
    ),
    (
        "that is the fraction of batches in which every label is correct.",
        lambda loader, predict: torch.stack(
            [batch.all() for batch in right_by_batch(loader, predict)]
        ).float().mean(),
    ),
    (
        "that is the precision: the fraction of spam among what is predicted as spam.",
        lambda loader, predict: over(spam_found(loader, predict), counted(loader, predict)[0].sum()),
    ),
    (
        "that is the recall: the fraction of the spam that is predicted as spam.",
        lambda loader, predict: over(spam_found(loader, predict), counted(loader, predict)[1].sum()),
    ),
)  # fmt: skip


def is_odd(token_ids: torch.Tensor) -> torch.Tensor:
    """Return a label for each row: 1 where the sum of its ids is odd."""
    return token_ids.sum(dim=1) % 2


def is_large(token_ids: torch.Tensor) -> torch.Tensor:
    """Return a label for each row: 1 where its last id is above 4."""
    return (token_ids[:, -1] > 4).long()


def loaders_and_predictions() -> list[tuple]:
    """Return loaders of different sizes, each with what predicts the labels of token ids."""
    # (token ids, labels, batch size, predictions): the predictions are partly wrong
    sizes = (
        (rows("1 2 4; 3 5 1; 2 2 6; 1 1 1; 4 3 2; 6 6 7; 8 1 2"), "1 0 0 1 0 1 1", 4, is_odd),
        (rows("1 5; 2 8; 7 3; 5 9; 9 1"), "1 1 0 0 1", 2, is_large),
        (rows("3 4; 5 7; 9 9"), "1 0 0", 3, is_odd),  # all predicted correctly
    )
    return [
        (DataLoader(TensorDataset(token_ids, rows(labels)[0]), batch_size), predict)
        for token_ids, labels, batch_size, predict in sizes
    ]


def try_accuracy(solve) -> str:
    """`solve` takes batches, and a function from token ids (batch, n) to labels (batch,)."""
    expect(solve, loaders_and_predictions(), accuracy, ACCURACY_MISTAKES)
    return "three loaders, two of them with a smaller last batch"


EXERCISES = {
    "6.6 last real token": Exercise(
        try_last_token_positions,
        last_token_positions,
    ),
    "6.6 loss": Exercise(
        try_loss_of_last_position,
        loss_of_last_position,
    ),
    "6.6 accuracy": Exercise(try_accuracy, accuracy),
}
