"""The course's own code on a page is the real one, folded."""

import inspect
from html import unescape
from xml.etree import ElementTree

from helpers.data import SpamDataset
from helpers.training import last_token_positions
from workshop.exercises import show_source


def test_the_code_is_that_of_the_file_and_folded():
    shown = show_source(last_token_positions, SpamDataset)
    page = ElementTree.fromstring(shown._repr_html_())
    assert page.tag == "details" and "open" not in page.attrib
    summary = "".join(page.find("summary").itertext())
    assert summary == "The course's last_token_positions, SpamDataset"
    code = unescape("".join(page.find("pre").itertext()))
    for thing in (last_token_positions, SpamDataset):
        assert inspect.getsource(thing).rstrip() in code
    assert repr(shown) == "[folded: the course's last_token_positions, SpamDataset]"
