"""One token's attention and the causal mask are drawn with the model's own numbers."""

import numpy as np
import pytest
import torch

from helpers.freezing import record
from helpers.loading import load_pretrained
from helpers.model import without_causal_mask
from helpers.tokenizer import get_tokenizer, text_to_token_ids, visible_tokens
from tests.drawings import check_chart
from workshop.inside import attention_weights
from workshop.pictures.attention import attention_step, draw_attention_step, draw_mask

NANO, OPEN = load_pretrained("gpt2-nano (12M)"), load_pretrained("gpt2-nano (12M)")
without_causal_mask(OPEN)
LONG = text_to_token_ids("Congratulations and antidisestablishment </text> 💰")
WIDE = visible_tokens(LONG[0].tolist(), get_tokenizer())
IDS = text_to_token_ids("My sister lost her phone")
TOKENS = ["My", "␣sister", "␣lost", "␣her", "␣phone"]


def test_what_a_head_gathers_is_what_the_model_itself_puts_together():
    step = attention_step(NANO, IDS, at=3, block=4, head=2)
    with record(NANO, "trf_blocks.4.att.out_proj") as recorded:
        NANO(IDS)
    heads = recorded["trf_blocks.4.att.out_proj"].input[0, 3].reshape(6, 32)  # side by side
    assert torch.allclose(step["sum"], heads[2], atol=1e-5)
    assert torch.allclose(step["scores"].softmax(dim=0), step["weights"], atol=1e-6)
    assert len(step["weights"]) == 4


def test_the_chart_of_attention_holds_the_steps_numbers():
    step = attention_step(NANO, IDS, 3, 4, 3)
    chart = draw_attention_step(NANO, IDS, TOKENS, 3, 4, 3)
    texts, plots = check_chart(chart), {}
    for plot in chart.figure.axes:
        plots[plot.get_title("left")] = plot
    for name in ("query", "keys", "values", "sum"):
        image = plots[name].images[0]
        assert np.allclose(image.get_array(), np.atleast_2d(step[name]), atol=1e-6)
        largest = step["values" if name == "sum" else name].abs().max().item()
        assert image.get_clim() == pytest.approx((-largest, largest))
    bars = plots["query × key / √32\n= score → weight"].patches
    assert [bar.get_width() for bar in bars] == pytest.approx(step["weights"].tolist(), abs=0.006)
    title, described = chart.words.splitlines()
    assert title == "block 4, head 3: the attention of ␣her, 32 numbers a token"
    for token, score, weight in zip(TOKENS, step["scores"], step["weights"], strict=False):
        label = f"{score:.1f} → {weight:.0%}"
        assert token in texts and label in texts and f"{token} {label}" in described
    assert "␣sister -2.8 → 82%" in described and "␣phone" not in described
    check_chart(draw_attention_step(NANO, LONG, WIDE, 10))


def test_without_the_causal_mask_a_token_attends_to_those_after_it_too():
    words = draw_attention_step(OPEN, IDS, TOKENS, 1, 4, 3).words
    assert all(f"{token} " in words for token in TOKENS)
    chart = draw_mask(OPEN, IDS, TOKENS)
    assert chart.words.count("attends to 5 of 5") == 5 and "×" not in check_chart(chart)


@pytest.mark.parametrize(("ids", "tokens"), [(IDS, TOKENS), (LONG, WIDE)])
def test_each_field_of_the_mask_says_whether_and_how_much_a_token_attends(ids, tokens):
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
