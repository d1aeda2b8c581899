"""What section 6.5 asks: to write, and to predict."""

from torch import nn

from helpers.freezing import FreezePlan, frozen_blocks
from helpers.model import GPTModel
from workshop.exercises.coding import Exercise, Mistake, number_of
from workshop.exercises.prediction import Number, OneOf, Question, Shape

TINY = {
    "vocab_size": 5,
    "context_length": 3,
    "emb_dim": 2,
    "n_layers": 11,
    "n_heads": 1,
    "drop_rate": 0.0,
    "qkv_bias": False,
}


def _flags(model: nn.Module) -> dict[str, bool]:
    return {name: parameter.requires_grad for name, parameter in model.named_parameters()}


def _try_freeze(solve):
    """`solve` takes a model and names of parts, and sets each parameter's `requires_grad`."""
    model, parts = GPTModel(TINY), ("trf_blocks.1", "final_norm", "out_head")
    solve(model, parts)
    got, wanted = _flags(model), _learning(model, parts)
    if any("requires_grad" in vars(module) for module in model.modules()):
        raise Mistake(
            "you set the flag on modules, where it is a word without effect: set it on each "
            "parameter, from `named_parameters()`."
        )
    if all(got.values()):
        raise Mistake("nothing was frozen: all parameters of the model still learn.")
    if got == {name: not learns for name, learns in wanted.items()}:
        raise Mistake("it is the wrong way round: `trainable` names what learns.")
    if got["trf_blocks.10.att.W_query.weight"]:
        raise Mistake(
            "with trf_blocks.1 it also takes trf_blocks.10: the name has to go on with a dot."
        )
    if not any(got.values()):
        raise Mistake(
            "nothing learns: a parameter's name goes on after the part's, as in out_head.weight."
        )
    _compare(got, wanted, parts)
    again = ("trf_blocks.0.norm1", "trf_blocks.10")
    solve(model, again)
    got, wanted = _flags(model), _learning(model, again)
    if not any(got[name] for name in wanted if wanted[name]):
        raise Mistake(
            "what was frozen before never thaws again: set the flag of what learns to True, too."
        )
    if got["final_norm.scale"]:
        raise Mistake("what learned before still learns: freeze what is not named this time.")
    _compare(got, wanted, again)
    for parts in (("tok_emb.weight",), ()):
        solve(model, parts)
        _compare(_flags(model), _learning(model, parts), parts)
    return "whole blocks, a piece, one parameter, nothing, and a second choice after the first"


def _learning(model: nn.Module, parts: tuple[str, ...]) -> dict[str, bool]:
    return {
        name: any(name == part or name.startswith(f"{part}.") for part in parts)
        for name in _flags(model)
    }


def _compare(got: dict[str, bool], wanted: dict[str, bool], parts: tuple[str, ...]) -> None:
    for name, learns in wanted.items():
        if got[name] != learns:
            raise Mistake(
                f"with trainable={parts} the flag of {name} should be {learns}, not {got[name]}."
            )


def _try_count_trainable(solve):
    """`solve` takes a model and returns how many numbers in it learn."""
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2), nn.LayerNorm(2))
    model[0].requires_grad_(False)
    model[1].bias.requires_grad_(False)  # 10 + 4 numbers learn, 20 + 2 do not
    got = number_of(solve(model), "the count")
    if got in (3, 6):
        raise Mistake(
            "you counted tensors: a weight of 2 rows and 5 columns is ten parameters (`numel`)."
        )
    if got == 36:
        raise Mistake("you counted all parameters, the frozen ones, too.")
    if got == 22:
        raise Mistake("you counted the frozen parameters, not those that learn.")
    if got != 14:
        raise Mistake(f"of a small model 14 parameters learn; your count is {got:g}.")
    got = number_of(solve(model.requires_grad_(False)), "the count")
    if got != 0:
        raise Mistake(f"where all is frozen the count should be 0, not {got:g}.")
    return "a model that is frozen in parts, and one that is wholly frozen"


BLOCKS = [  # what learns, the number of blocks
    ({"trf_blocks.5", "final_norm", "out_head"}, 6),
    ({"out_head"}, 6),
    ({"trf_blocks.2", "out_head"}, 6),
    ({"trf_blocks.1", "trf_blocks.4"}, 6),
    ({"pos_emb", "trf_blocks.4"}, 6),
    ({"tok_emb"}, 6),
    ({"trf_blocks.1.norm1", "out_head"}, 6),
    ({"trf_blocks.9", "trf_blocks.10"}, 12),
    ({"trf_blocks.0"}, 12),
    (set(), 3),
]


def _try_frozen_blocks(solve):
    """`solve` takes names of parts that learn and the number of blocks; it counts blocks."""
    for trainable, n_layers in BLOCKS:
        count = frozen_blocks(FreezePlan(n_layers, trainable))
        got = solve(set(trainable), n_layers)
        if count is None and got is None:
            continue  # there is no part that stays the same: the course's own says so
        got, wanted = number_of(got, "the number of blocks"), count or 0
        if got == wanted:
            continue
        of = f"with {sorted(trainable)} of {n_layers} blocks"
        whole = sum(f"trf_blocks.{i}" not in trainable for i in range(n_layers))
        if count is None:
            raise Mistake(
                f"{of}: an embedding learns, so what goes into block 0 is another in each epoch: 0."
            )
        if any(name.endswith(".norm1") for name in trainable):
            raise Mistake(f"{of}: a block of which only a piece learns puts out new numbers, too.")
        if {"trf_blocks.9", "trf_blocks.10"} <= trainable:
            raise Mistake(f"{of}: block 9 lies below block 10; compare numbers, not texts.")
        if abs(got - wanted) == 1 and trainable & {"trf_blocks.5", "trf_blocks.0"}:
            raise Mistake(
                f"{of} it is {wanted}, not {got:g}: blocks are counted from 0, so "
                "below block i lie i blocks."
            )
        if got == whole:
            raise Mistake(
                f"{of} your {got:g} counts every frozen block: above the lowest that learns they "
                "get other numbers in each epoch."
            )
        raise Mistake(f"{of} it should be {wanted}, not {got:g}.")
    return "plans with blocks, pieces, embeddings, the head alone, and nothing"


EXERCISES = {
    "my_freeze": Exercise(_try_freeze),
    "my_count_trainable": Exercise(_try_count_trainable),
    "my_frozen_blocks": Exercise(_try_frozen_blocks),
}


QUESTIONS = {
    "6.5 the shape with the old head": Question(
        "Which shape comes out of the model with the head that it has now?",
        Shape(),
        right="Yes: for each of the four tokens a score for every token that might follow.",
        wrong={
            (1, 50257): "Every token gets its own row of scores, not the message one row.",
            (1, 4, 192): "That goes into the head; out come as many numbers as there are answers.",
            (1, 4): "That went in; each id gets scores for all tokens that might follow.",
            "else": "One message, four tokens, and for each a score for every token that there is.",
        },
    ),
    "6.5 the shape with the new head": Question(
        "And with the new head?",
        Shape(),
        right="Yes: only the last length changes.",
        wrong={
            (1, 2): "Each token still has a row of its own; choosing one comes later.",
            (1, 4, 50257): "That was the old head; the new one has two outputs.",
            "else": "One message, four tokens, and for each a score for either class.",
        },
        then="The head is untrained, so what it says means nothing yet.",
    ),
    "6.5 the share that learns": Question(
        "How many percent of all parameters learn now?",
        Number(within=1.5, unit="%"),
        right="Yes: a twenty-eighth part of it.",
        wrong={
            17: "One block of six it is, but three quarters of the model are its token embedding.",
            "too low": "More: the last block alone is 3.55 % of this model.",
            "too high": "Less: three quarters of this model are its token embedding.",
        },
        then="Of OpenAI's sizes, the larger the model, the smaller the share: there are more "
        "blocks, and still one of them learns.",
    ),
    "6.5 the first block in place of the last": Question(
        "If the *first* block learned in the last one's place: how many times the work would the "
        "backward pass have?",
        Number(tolerance=0.25),
        right="Yes: the gradient crosses five blocks more.",
        wrong={
            1: "As many parameters learn, but the gradient has a longer way to go.",
            6: "Six blocks in the place of one, but a crossed block costs about half: its own "
            "gradients are spared.",
            "too low": "More: on its way down the gradient crosses five blocks more.",
            "too high": "Less: a block that is only crossed costs about half of one that learns.",
        },
        then="Try it above: press both blocks. As many parameters learn as before, so gradients "
        "and moments take as much memory. But the forward pass has to keep more for the backward "
        "pass: 196.4 kB in the place of 55.8. Set *Batch size* to 100, and it is 19.6 MB, more "
        "than gradients and moments together.",
    ),
    "6.5 two blocks": Question(
        "How many parameters would learn with the last *two* blocks, `final_norm` and `out_head`?",
        Number(tolerance=0.03),
        right="Yes: blocks are equally large, and the rest is nearly nothing.",
        wrong={
            445634: "That is the choice with one block; now there are two.",
            "too low": "More: add one more block to the number that learns now.",
            "too high": "Less: a second block of the same size, and nothing else.",
        },
        then="Exactly {answer}. Choose *last two blocks* and see.",
    ),
    "6.5 where running once saves nothing": Question(
        "For which choice does running the frozen part once save least, as a share?",
        OneOf("head only", "the book's choice", "everything"),
        right="Yes: no part is frozen there, so each message runs through all of it.",
        wrong={
            "head only": "There it saves most: all but the head runs only once.",
            "the book's choice": "It saves much there: five of six blocks lie below what learns.",
        },
        then="With the last block the work is 86.0 billion multiply-adds the book's way, and 18.0 "
        "with the frozen part run once; with *everything* 178.7 and 153.2. (That it is less at all "
        "has another reason: the last block answers only for the token that classifies.)",
    ),
    "6.5 weights that are zero": Question(
        "Four tokens look at four tokens. How many of these 16 weights are exactly 0?",
        Number(),
        right="Yes: all that would look ahead.",
        wrong={
            0: "A token may not look ahead: such weights are 0 exactly.",
            10: "So many are left: a token sees itself, too.",
            "too low": "More: the first token may not see three others, the second two, and so on.",
            "too high": "Fewer: each token sees itself and all that stand before it.",
        },
        then="They lie above the diagonal, in every head of every block. A row is a token that "
        "looks; its weights, here the mean of all heads, are together 100 %, up to rounding. Only "
        "the last row has seen the whole message.",
    ),
    "6.5 rows that stay": Question(
        "The message becomes `Do you have money`. How many of the four rows that come out stay as "
        "they were?",
        Number(),
        right="Yes: the first three could not know what would follow.",
        wrong={
            0: "The first three tokens cannot see the last one: they stay.",
            1: "It is the other way round: one row changes.",
            "too low": "More: whoever cannot see the last token stays as it was.",
            "too high": "Fewer: the last row belongs to the word that changed.",
        },
    ),
}
