"""One token's attention and the causal mask are drawn with the model's own numbers.

The nano's heads do what sections 6.4 and 6.5 say of them.
"""

import numpy as np
import pytest
import torch

from helpers.loading import load_pretrained
from helpers.model import without_causal_mask
from helpers.tokenizer import get_tokenizer, text_to_token_ids, visible_tokens
from tests.drawings import check_chart
from workshop.inside import attention_weights
from workshop.pictures.attention import attention_step, draw_attention_step, draw_mask

NANO = load_pretrained("gpt2-nano (12M)")
OPEN = without_causal_mask(load_pretrained("gpt2-nano (12M)"))
LONG = "Congratulations and antidisestablishment </text> 💰"


def message(text: str) -> tuple[torch.Tensor, list[str]]:
    token_ids = text_to_token_ids(text)
    return token_ids, visible_tokens(token_ids[0].tolist(), get_tokenizer())


IDS, TOKENS = message("My sister lost her phone")


def test_what_a_head_gathers_is_what_the_model_itself_puts_together():
    (step, at, block, head), given = (attention_step(NANO, IDS, 3, 4, 2), 3, 4, 2), []
    hook = NANO.trf_blocks[block].att.out_proj.register_forward_pre_hook(
        lambda module, inputs: given.append(inputs[0])
    )
    NANO(IDS)
    hook.remove()
    heads = given[0][0, at].reshape(6, 32)  # side by side, as out_proj takes them
    assert torch.allclose(step["sum"], heads[head], atol=1e-5)
    assert torch.allclose(step["scores"].softmax(dim=0), step["weights"], atol=1e-6)
    assert len(step["weights"]) == at + 1
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in NANO.modules())


def test_the_chart_of_attention_holds_the_steps_numbers():
    step = attention_step(NANO, IDS, 3, 4, 3)
    chart = draw_attention_step(NANO, IDS, TOKENS, 3, 4, 3)
    texts, plots = check_chart(chart), {}
    for plot in chart.figure.axes:
        plots[plot.get_title("left")] = plot
    for name, scale in (("query",) * 2, ("keys",) * 2, ("values",) * 2, ("sum", "values")):
        image, largest = plots[name].images[0], step[scale].abs().max().item()
        assert np.allclose(image.get_array(), np.atleast_2d(step[name]), atol=1e-6)
        assert image.get_clim() == pytest.approx((-largest, largest))
    bars = plots["query × key / √32\n= score → weight"].patches
    assert [bar.get_width() for bar in bars] == pytest.approx(step["weights"].tolist(), abs=0.006)
    title, described = chart.words.splitlines()
    assert title == "block 4, head 3: the attention of ␣her, 32 numbers a token"
    for token, score, weight in zip(TOKENS, step["scores"], step["weights"], strict=False):
        label = f"{score:.1f} → {weight:.0%}"
        assert token in texts and label in texts and f"{token} {label}" in described
    assert "␣sister -2.8 → 82%" in described and "␣phone" not in described
    check_chart(draw_attention_step(NANO, *message(LONG), 10))


def test_without_the_causal_mask_a_token_attends_to_those_after_it_too():
    words = draw_attention_step(OPEN, IDS, TOKENS, 1, 4, 3).words
    assert all(f"{token} " in words for token in TOKENS)
    chart = draw_mask(OPEN, IDS, TOKENS)
    assert chart.words.count("attends to 5 of 5") == 5 and "×" not in check_chart(chart)


def test_the_two_heads_do_in_the_sentences_of_section_6_4_what_it_says():
    for sentence, block, head, seen in (
        ("My sister lost her phone", 4, 3, "␣sister"),
        ("My brother sold his car", 4, 3, "␣brother"),
        ("The dog chased the cat", 1, 4, "␣chased"),
    ):
        ids, tokens = message(sentence)
        assert tokens[attention_step(NANO, ids, 3, block, head)["weights"].argmax()] == seen


@pytest.mark.parametrize("text", ["Do you have time", LONG])
def test_each_field_of_the_mask_says_whether_and_how_much_a_token_attends(text):
    ids, tokens = message(text)
    chart, n = draw_mask(NANO, ids, tokens), len(tokens)
    check_chart(chart)
    plot, weights = chart.figure.axes[0], attention_weights(NANO, ids)[:, 0].mean(dim=(0, 1))
    assert [label.get_text() for label in plot.get_yticklabels()] == tokens
    assert len(plot.texts) == n * n
    for field in plot.texts:
        (column, row), shown = field.get_position(), field.get_text()
        if column > row:
            assert shown == "×" and weights[row, column] == 0
        else:
            assert abs(int(shown) - 100 * weights[row, column].item()) < 0.51
            line = chart.words.splitlines()[row + 1]
            assert f"{tokens[column]} {shown} %" in line
            assert line.startswith(f"{tokens[row]} attends to {row + 1} of {n}: ")


def test_what_cannot_be_drawn_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="give one message of 1 to 12 tokens"):
        draw_mask(NANO, torch.ones(1, 13).long(), TOKENS)
    with pytest.raises(ValueError, match="block .*0 to 5, .*not 6"):
        draw_attention_step(NANO, IDS, TOKENS, 3, 6, 0)
