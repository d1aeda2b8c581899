"""The trial of section 6.4: query, key and value out of one array of the checkpoint."""

import torch
from torch import nn

from workshop.exercises.mistakes import Exercise, Mistake, alike, refuse, unrecognised

NAMES = ("W_query", "W_key", "W_value")


@torch.no_grad()
def load_query_key_value(attention, w, b):
    """Fill attention.W_query, W_key and W_value from w (emb, 3·emb) and b (3·emb,)."""
    n = w.shape[0]
    for name, matrix, bias in zip(NAMES, w.split(n, dim=1), b.split(n), strict=True):
        layer = getattr(attention, name)
        layer.weight.copy_(matrix.T)
        layer.bias.copy_(bias)


def right_weights(w, old) -> torch.Tensor:
    """Return the weights of the three layers, (3, n, n), in the array w (n, 3·n)."""
    return torch.stack(w.split(len(w), 1)).mT


WEIGHT_MISTAKES = (  # from the array w and the old weights (3, n, n)
    (
        "the three parts are not transposed. TensorFlow computes x @ w, and Linear computes "
        "x @ weight.T.",
        lambda w, old: right_weights(w, old).mT,
    ),
    (
        "you took every third column. Query, key and value stand side by side.",
        lambda w, old: w.reshape(len(w), -1, 3).permute(2, 1, 0),
    ),
    (
        "`reshape` mixes the rows of w. Split its columns.",
        lambda w, old: w.reshape(3, len(w), len(w)),
    ),
    (
        "`reshape` mixes the rows of w. Split its columns, then transpose each part.",
        lambda w, old: w.reshape(3, len(w), len(w)).mT,
    ),
    (
        "all three layers have the first part, that of the query.",
        lambda w, old: w[:, : len(w)].T.expand(3, -1, -1),
    ),
    (
        "you added the parts to the numbers that were there. Replace them, with `copy_`.",
        lambda w, old: right_weights(w, old) + old,
    ),
)
BIAS_MISTAKES = (
    (
        "all three biases are the first part of b.",
        lambda b, old: b[: len(b) // 3].expand(3, -1),
    ),
    (
        "you added the parts of b to the old biases. Replace them, with `copy_`.",
        lambda b, old: b.reshape(3, -1) + old,
    ),
)


def try_query_key_value(solve) -> str:
    """`solve` takes an attention module, w (emb, 3·emb) and b (3·emb,), and fills the module."""
    generator = torch.Generator().manual_seed(4)
    weights, biases = [], []
    for n in (4, 6):  # square, so that no shape shows a matrix that is not transposed
        attention = nn.Module()
        for name in NAMES:
            setattr(attention, name, nn.Linear(n, n))
        w, b = torch.randn(n, 3 * n, generator=generator), torch.randn(3 * n, generator=generator)
        old = numbers_of(attention, "weight"), numbers_of(attention, "bias")
        given = w.clone(), b.clone()
        try:
            solve(attention, *given)
        except RuntimeError as error:
            if "in-place operation" not in str(error):
                raise
            raise Mistake(
                "PyTorch allows no change of a parameter where it records gradients. Change it "
                "inside `with torch.no_grad():`."
            ) from error
        refuse({
            "your function changed its input. Work on a copy instead.":
                not (torch.equal(given[0], w) and torch.equal(given[1], b)),
            "your function froze the layers: `requires_grad` should stay as it was.":
                not all(parameter.requires_grad for parameter in attention.parameters()),
        })  # fmt: skip
        weights.append((w, old[0], numbers_of(attention, "weight")))
        biases.append((b, old[1], numbers_of(attention, "bias")))
    compare_parts(weights, "weight", right_weights, WEIGHT_MISTAKES)
    compare_parts(biases, "bias", lambda b, old: b.reshape(3, -1), BIAS_MISTAKES)
    return "layers of two sizes, which had other numbers before"


def numbers_of(attention, kind: str) -> torch.Tensor:
    """Return a copy of the weights (3, n, n) or of the biases (3, n) of the three layers."""
    layers = [getattr(attention, name) for name in NAMES]
    return torch.stack([getattr(layer, kind).detach().clone() for layer in layers])


def compare_parts(cases, kind: str, right, mistakes) -> None:
    """Raise Mistake unless the parameters of a kind are right; a case is (array, old, new)."""
    failed = [case for case in cases if not alike(case[2], right(*case[:2]))]
    if not failed:
        return
    for sentence, wrong in mistakes:
        if all(alike(new, wrong(array, old)) for array, old, new in cases):
            raise Mistake(sentence)
    if all(
        alike(new.sort(0).values, right(array, old).sort(0).values) for array, old, new in cases
    ):
        raise Mistake(
            f"the three parts of the {kind} are in another order: first the query, then the key, "
            "then the value."
        )
    array, old, new = failed[0]
    expected = right(array, old)
    wrong = [i for i in range(3) if not alike(new[i], expected[i])]
    for what, values in (("still has its old numbers", old), ("is not transposed", expected.mT)):
        names = [f"{NAMES[i]}.{kind}" for i in wrong if alike(new[i], values[i])]
        if names:
            each = ": each" if len(names) > 1 else ""
            raise Mistake(f"{' and '.join(names)}{each} {what}.")
    given = f"{'w' if kind == 'weight' else 'b'} of the shape {tuple(array.shape)}"
    raise unrecognised(f"{given}, {NAMES[wrong[0]]}.{kind}", expected[wrong[0]], new[wrong[0]])


EXERCISES = {
    "6.4 query, key and value": Exercise(try_query_key_value, load_query_key_value),
}
