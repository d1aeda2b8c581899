"""What the Freeze Explorer's page adds up: a table of each piece's costs in each state.

The page, `assets/explorer.mjs`, is one file of JavaScript. It runs in a notebook, where
`workshop.widgets.FreezeExplorer` holds its plan, and in any page without a kernel. It computes
nothing itself: it adds up rows of the table that is made here, and draws the sums.
"""

import base64
import json
from collections.abc import Sequence
from functools import cache, lru_cache
from html import escape
from statistics import mean

import torch

from helpers.config import MODEL_CONFIGS, gpt_config
from helpers.freezing import (
    ADAPTED,
    ADAPTED_MATRICES,
    FROZEN,
    PRESETS,
    TRAINABLE,
    FreezePlan,
    Shape,
    classifier_without_weights,
    gradient_reach,
    kind_of,
    parameter_report,
    pieces_of,
    trace_shapes,
)
from workshop import ASSETS
from workshop.costs import ForwardPass, training_cost
from workshop.experiments import LAYERS, ROWS
from workshop.pictures.model import draw_classifier
from workshop.tables import html_table, parts_table

MODULE = (ASSETS / "explorer.mjs").read_text(encoding="utf-8")
NANO, SMALL = "gpt2-nano (12M)", "gpt2-small (124M)"


def _row(cfg: dict, plan: FreezePlan, piece: str, has_gradient: bool, classes: int) -> list[int]:
    """Return the numbers that the page adds up for one piece under a plan.

    They are those of all and of the trainable parameters; the multiply-adds of the forward pass, by
    b·n and by b·n·n, with the batch size b and n tokens, and those of the backward pass; and the
    bytes that are kept for it, by b·n, b·n·n, n·n and n. `has_gradient` says whether something
    before the piece is trainable.
    """
    counts = ForwardPass(cfg, plan, classes)
    counts.has_gradient = has_gradient
    counts.run_piece(piece)
    count = parameter_report(cfg, plan, classes).count(piece)
    both = counts.weight_gradients + counts.input_gradients
    return [
        count.parameters,
        count.trainable,
        counts.forward["token"],
        counts.forward["pair"],
        both["token"],
        both["pair"],
        4 * counts.kept,
        4 * cfg["n_heads"] * counts.crossed,  # the attention weights
        counts.crossed,  # a causal mask has one byte for each pair of tokens
        8 if piece == "pos_emb" and count.trainable else 0,  # the positions' indices
    ]


@lru_cache
def _pieces(sizes: tuple) -> tuple[dict, dict]:
    """Return the rows of each kind of piece in each state, without and with a gradient before it.

    The first are for two classes and adapters of rank 1. The second are those that grow, for three
    classes and rank 2; every further class or rank adds as much again.
    """
    cfg, rows, larger = dict(sizes), {}, {}
    n_layers = cfg["n_layers"]

    def both(plan: FreezePlan, piece: str, classes: int = 2) -> list[list[int]]:
        return [_row(cfg, plan, piece, gradient, classes) for gradient in (False, True)]

    for piece in ("tok_emb", "pos_emb", *pieces_of("trf_blocks.0"), "final_norm", "out_head"):
        kind = kind_of(piece)
        plans = {FROZEN: FreezePlan(n_layers), TRAINABLE: FreezePlan(n_layers, {piece})}
        rows[kind] = {state: both(plan, piece) for state, plan in plans.items()}
        if kind == "out_head":
            larger[kind] = {state: both(plan, piece, 3) for state, plan in plans.items()}
        if kind in ADAPTED_MATRICES:
            one, two = (FreezePlan(n_layers, adapted={piece}, rank=rank) for rank in (1, 2))
            rows[kind][ADAPTED] = both(one, piece)
            larger[kind] = {ADAPTED: both(two, piece)}
    return rows, larger


def explorer_table(cfg: dict) -> dict:
    """Return what the page has to know of a model with configuration `cfg`, ready for JSON."""
    rows, larger = _pieces(tuple(cfg.items()))
    n_layers, d, heads = cfg["n_layers"], cfg["emb_dim"], cfg["n_heads"]
    token = ["b", "n", d]
    return {
        "layers": n_layers,
        "embDim": d,
        "context": cfg["context_length"],
        "rows": rows,
        "larger": larger,
        "presets": {name: plan_as_json(make(n_layers)) for name, make in PRESETS.items()},
        "shapes": {
            "tok_emb": token,
            "pos_emb": ["n", d],
            "norm1": token,
            "att": [
                "b",
                heads,
                "n",
                d // heads,
            ],  # queries, keys and values, before they are joined
            "norm2": token,
            "ff": ["b", "n", 4 * d],  # between its two matrices
            "block": token,
            "final_norm": token,
            "out_head": ["b", "n", "classes"],
        },
        "results": measured_results(next((n for n in MODEL_CONFIGS if gpt_config(n) == cfg), "")),
    }


@cache
def measured_results(name: str) -> dict[str, str]:
    """Return by preset what fraction of the test messages a model of this size classified right.

    Each sentence says who measured it: the course for the bundled model, or else the book's
    repository. Sizes and presets that neither trained are left out.
    """
    results = {}
    for layers, preset in LAYERS.items():
        if name == NANO:
            accuracies = _nano_accuracies(layers)
            results[preset] = (
                f"{100 * mean(accuracies):.0f} % of the bundled test messages, the mean over "
                f"{len(accuracies)} seeds (measured in appendix 6.B)"
            )
            continue
        for row in ROWS.values():
            changes = {"model": SMALL, "layers": "last block"} | row.changes
            changes.pop("alpha", None)  # the same choice at another scale
            if row.book and changes == {"model": name, "layers": layers}:
                results[preset] = (
                    f"{row.book:.1f} % of the book's test messages, in one run (measured by the "
                    "book's repository)"
                )
    return results


def _nano_accuracies(layers: str) -> list[float]:
    """Return the bundled model's test accuracies, 0 … 1, of each seed."""
    path = ASSETS / "experiments" / "nano-sms-mini.jsonl"
    rows = [number for number, row in ROWS.items() if row.changes == {"layers": layers}]
    number = rows[0] if rows else 1
    results = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [result["accuracy"]["test"] for result in results if result["row"] == number]


@lru_cache(maxsize=64)  # tracing takes longer than all the rest
def _traced(sizes: tuple, batch_size: int, num_tokens: int, classes: int) -> tuple[Shape, ...]:
    model = classifier_without_weights(dict(sizes), classes)
    token_ids = torch.zeros(batch_size, num_tokens, dtype=torch.long)
    return trace_shapes(model, token_ids, last_token=True)


def shapes_of(cfg: dict, batch_size: int, num_tokens: int, num_classes: int) -> tuple[Shape, ...]:
    """Return the shape of each part's output for token ids (batch_size, num_tokens)."""
    return _traced(tuple(cfg.items()), batch_size, num_tokens, num_classes)


# --- a page without a kernel ----------------------------------------------------------------------


def static_form(
    cfg: dict,
    plan: FreezePlan,
    tokens: Sequence[str],
    batch_size: int,
    num_tokens: int,
    num_classes: int,
) -> str:
    """Return the diagram, the parts and the costs as HTML, for pages where no script runs."""
    shapes = shapes_of(cfg, batch_size, num_tokens, num_classes)
    report, reach = parameter_report(cfg, plan, num_classes), gradient_reach(plan)
    drawing = draw_classifier(report, shapes, tokens, reach=reach)
    image = base64.b64encode(drawing.svg.encode()).decode()
    width = drawing.size[0]
    picture = (
        f'<img src="data:image/svg+xml;base64,{image}" width="{width:g}" '
        f'alt="{escape(drawing.words)}">'
    )
    costs = training_cost(cfg, plan, batch_size, num_tokens, num_classes)
    amounts = [(cost.what, str(cost)) for cost in costs]
    table = html_table(("cost", "amount"), amounts, "The costs of one training step, in float32")
    return picture + parts_table(report, shapes, reach) + table


def live_html(state: dict, static: str) -> str:
    """Return HTML that is the live Explorer where scripts run, and `static` where none does.

    `state` has the widget's traits by their names, see `FreezeExplorer`.
    """
    return f'{_page(state, static)}\n<script type="module">\n{MODULE}\nstartPages();\n</script>'


def _page(state: dict, static: str) -> str:
    text = json.dumps(state, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<div class="freeze-explorer-page">{static}'
        f'<script type="application/json">{text}</script></div>'
    )


def explorer_page() -> str:
    """Return the Explorer as HTML for the site: all sizes, and its state in the page's address."""
    return live_html(*_page_state(SMALL, tuple(MODEL_CONFIGS), ["Do", "␣you", "␣have", "␣time"], 1))


def nano_explorer() -> str:
    """Return the bundled model's Explorer as HTML, for a page that starts it itself."""
    return _page(*_page_state(NANO, (NANO,), [], 8))


def _page_state(
    size: str, sizes: Sequence[str], tokens: Sequence[str], batch_size: int
) -> tuple[dict, str]:
    """Return the state of a page's Explorer, and its static form."""
    cfg = gpt_config(size)
    plan, num_tokens = FreezePlan.book(cfg["n_layers"]), len(tokens) or 30
    state = {
        "tables": {name: explorer_table(gpt_config(name)) for name in sizes},
        "size": size,
        "plan": plan_as_json(plan),
        "tokens": tokens,
        "num_tokens": num_tokens,
        "batch_size": batch_size,
        "num_classes": 2,
        "lora": False,
        "in_address": True,
    }
    return state, static_form(cfg, plan, tokens, batch_size, num_tokens, 2)


def plan_as_json(plan: FreezePlan) -> dict:
    """Return a plan as the page keeps it."""
    return {
        "n_layers": plan.n_layers,
        "trainable": sorted(plan.trainable),
        "adapted": sorted(plan.adapted),
        "rank": plan.rank,
        "alpha": plan.alpha,
    }
