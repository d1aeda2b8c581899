"""The tables and sentences beside a picture say what the report says, and take words as text."""

from xml.etree import ElementTree

import torch

from helpers.config import gpt_config
from helpers.freezing import (
    FreezePlan,
    classifier_without_weights,
    gradient_reach,
    parameter_report,
    trace_shapes,
)
from tests.drawings import words_of
from workshop.tables import alert, html_table, parts_table

CFG, BOOK = gpt_config("gpt2-small (124M)"), FreezePlan.book(12)


def test_the_table_has_a_row_for_each_box_output_first_and_the_totals_last():
    shapes = trace_shapes(classifier_without_weights(CFG), torch.ones(1, 4, dtype=torch.long))
    report = parameter_report(CFG, BOOK)
    table = ElementTree.fromstring(parts_table(report, shapes, gradient_reach(BOOK)))
    assert {th.get("scope") for th in table.iter("th")} == {"col", "row"}
    assert table.find("caption").text == "The parts of the model, output first"
    rows = ["; ".join(words_of(cell) for cell in row) for row in table.find("tbody")]
    assert rows[0] == "out_head; 1,538; 1,538; trainable; (1, 4, 2); passes through"
    assert rows[2] == "trf_blocks.11; 7,087,872; 7,087,872; trainable; (1, 4, 768); stops here"
    assert rows[3] == "trf_blocks.0 – 10; 77,966,592; 0; frozen; (1, 4, 768); –"
    assert rows[6] == "total; 124,441,346; 7,090,946; 5.70 % trainable; ; " and len(rows) == 7


def test_a_table_and_a_sentence_take_words_as_text():
    table = html_table(("<i>", '"'), [("<b>&", "<u>")], "<caption>")
    assert words_of(ElementTree.fromstring(table)) == '<caption><i>"<b>&<u>'
    assert alert("<b>") == '<p role="alert">&lt;b&gt;</p>'
