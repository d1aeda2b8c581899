"""The trial of section 6.7: one training step."""

import copy
from numbers import Real

import torch
from torch.nn.utils import parameters_to_vector

from helpers.config import BASE_CONFIG
from helpers.freezing import FreezePlan, replace_head
from helpers.model import GPTModel
from helpers.training import take_step
from workshop.exercises.mistakes import Exercise, Mistake, alike, refuse, rows, show, unrecognised
from workshop.exercises.trials.section_6_6 import (
    loss_of_all_positions,
    loss_of_first_position,
    loss_of_last_position,
    loss_of_mean_logits,
    loss_of_probabilities,
    loss_of_wrong_classes,
    summed_loss,
)

SIZES = BASE_CONFIG | {"vocab_size": 11, "context_length": 6, "drop_rate": 0.0}
# settings of the model, learning rate, number of tokens, labels of two batches
RUNS = (
    ({"emb_dim": 2, "n_heads": 1, "n_layers": 1}, 0.5, 4, "0 1 1; 1 0 1"),
    ({"emb_dim": 4, "n_heads": 2, "n_layers": 2}, 0.2, 5, "1 0; 0 0"),
)


def step_with(loss_of, zero_grad=True, steps=1):
    """Return a training step with another loss, without `zero_grad`, or with several steps."""

    def step(model, token_ids, labels, optimizer):
        if zero_grad:
            optimizer.zero_grad()
        loss = loss_of(model(token_ids), labels)
        loss.backward()
        for _ in range(steps):
            optimizer.step()
        return loss.item()

    return step


def returns_the_loss_after_it(model, token_ids, labels, optimizer) -> float:
    """Take a right step, and return the loss after it."""
    take_step(model, token_ids, labels, optimizer)
    return loss_of_last_position(model(token_ids), labels).item()


def moves_up_the_gradient(model, token_ids, labels, optimizer) -> float:
    """Take a step that makes the loss larger; return the loss before it."""
    step = step_with(lambda logits, labels: -loss_of_last_position(logits, labels))
    return -step(model, token_ids, labels, optimizer)


STEP_MISTAKES = (
    (
        "the gradients of the first step are still there in the second, and add up. Reset them with "
        "`optimizer.zero_grad()`.",
        step_with(loss_of_last_position, zero_grad=False),
    ),
    (
        "you averaged over all positions. Only the logits of the last one, `[:, -1]`, classify.",
        step_with(loss_of_all_positions),
    ),
    (
        "you took the first position. The last one, `[:, -1]`, classifies.",
        step_with(loss_of_first_position),
    ),
    (
        "you applied softmax twice: `cross_entropy` takes the logits, and includes softmax.",
        step_with(loss_of_probabilities),
    ),
    (
        "you added the losses of the messages. Take their mean, as `cross_entropy` does.",
        step_with(summed_loss),
    ),
    (
        "the classes are swapped: the loss is that of the wrong ones.",
        step_with(loss_of_wrong_classes),
    ),
    (
        "you averaged the logits over the positions. Take those of the last one, `[:, -1]`.",
        step_with(loss_of_mean_logits),
    ),
    (
        "the weights move the wrong way, up the gradient: `loss.backward()` without a minus.",
        moves_up_the_gradient,
    ),
    ("you called `optimizer.step()` twice.", step_with(loss_of_last_position, steps=2)),
    (
        "that is the loss after the step. Return the loss that you computed before it.",
        returns_the_loss_after_it,
    ),
)


def refuse_eval_mode(model, _) -> None:
    """Raise Mistake where a model that should be trained is in eval mode."""
    if not model.training:
        raise Mistake("the model is in eval mode, where dropout is off. Train it in training mode.")


def trace(step) -> list[tuple]:
    """Return what two steps on each of two models do.

    An entry has the loss as it is returned, the weights before and after, the number of the
    optimizer's steps so far, and whether the flags are still the same.
    """
    entries, optimizer_steps = [], []
    for i, (sizes, lr, num_tokens, labels) in enumerate(RUNS):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7 + i)
            model = replace_head(GPTModel(SIZES | sizes))
        FreezePlan(sizes["n_layers"], ["trf_blocks.0", "final_norm", "out_head"]).apply(model)
        model.register_forward_pre_hook(refuse_eval_mode)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        optimizer.register_step_post_hook(lambda *_: optimizer_steps.append(1))
        flags = [p.requires_grad for p in model.parameters()]
        for batch_labels in rows(labels):
            token_ids = torch.arange(len(batch_labels) * num_tokens).reshape(-1, num_tokens) % 11
            before = weights_of(model)
            returned = step(model, token_ids, copy.copy(batch_labels), optimizer)
            kept = flags == [p.requires_grad for p in model.parameters()]
            entries.append((returned, before, weights_of(model), len(optimizer_steps), kept))
    return entries


def weights_of(model) -> torch.Tensor:
    """Return all weights, as one vector."""
    return parameters_to_vector(model.parameters()).detach().clone()


def same_trace(one: list[tuple], other: list[tuple]) -> bool:
    """Return whether losses and weights are the same in two traces."""
    pairs = zip(one, other, strict=True)
    return all(alike(a[0], b[0]) and torch.allclose(a[2], b[2], atol=1e-5) for a, b in pairs)


def try_training_step(solve) -> str:
    """`solve` takes a model, token ids, labels and an optimizer; it takes a step, returns the loss."""
    got, right = trace(solve), trace(take_step)
    still = all(torch.equal(before, after) for _, before, after, *_ in got)
    never_called = got[-1][3] == 0
    refuse({
        "your function changed `requires_grad` of some parameters.": not all(e[4] for e in got),
        "no weight has changed: `optimizer.step()` was never called.": still and never_called,
        "no weight has changed. `zero_grad`, `backward` and `step`, in this order, of the model and "
        "the optimizer that your function is given.": still,
        "the weights have changed, but `optimizer.step()` was never called. Use the optimizer that "
        "your function is given.": never_called,
        "your function returns None. Return the loss: `loss.item()`.":
            any(entry[0] is None for entry in got),
    })  # fmt: skip
    for returned, *_ in got:
        if isinstance(returned, torch.Tensor) and returned.requires_grad:
            raise Mistake(
                "return `loss.item()`, a plain number. A tensor with its gradients keeps everything "
                "in memory that was computed for it."
            )
        if not isinstance(returned, Real):
            raise Mistake(f"return `loss.item()`, a plain number, not {show(returned)}.")
    if same_trace(got, right):
        return "two steps of two tiny models: their losses and their weights"
    for sentence, wrong in STEP_MISTAKES:
        if same_trace(got, trace(wrong)):
            raise Mistake(sentence)
    step = next(i for i in range(len(right)) if not same_trace([got[i]], [right[i]]))
    mine, due = got[step], right[step]
    given = f"step {step % 2 + 1} of a tiny model with {len(due[1])} weights"
    if not alike(mine[0], due[0]):
        raise unrecognised(f"{given}: the loss", due[0], mine[0])
    i = (mine[2] - due[2]).abs().argmax()
    raise unrecognised(f"{given}: weight {i} after it", due[2][i], mine[2][i])


EXERCISES = {
    "6.7 training step": Exercise(try_training_step, take_step),
}
