"""The sentences of Markdown, of the questions, and of the messages in Python files."""

import ast
import re
from pathlib import Path

FENCE = re.compile(r"^([> ]*)(`{3}|~{3}).*?^\1\2\s*$", re.DOTALL | re.MULTILINE)
DETAILS_OR_TAG = re.compile(r"</?(?:details|summary|p|br|div|table|tr|td|th|li|ul|ol)\b[^>]*>")
IMAGE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")
LINK = re.compile(r"\[([^\[\]]*)\]\([^)]*\)")
CODE_OR_FORMULA = re.compile(r"(`+)(?:(?!\1).)+\1|\$[^$\n]+\$|\{[^{}\n]*\}", re.DOTALL)
PIECE = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*+]|\d+\.) )|\n(?=#)|\|")  # paragraph, item, title, cell
END = re.compile(r"(?<!e\.g\.)(?<!i\.e\.)(?<!\bvs\.)(?<!\bcf\.)(?<=[.!?])[*_”\"’')]*\s+")
WORD = re.compile(r"\S*\w\S*")


def plain(markdown: str) -> str:
    """Return a text without blocks of code, tags and addresses; code in a line counts as a word."""
    text = FENCE.sub("\n\n", markdown)
    text = re.sub(r"^> ?", "", text, flags=re.MULTILINE)
    text = CODE_OR_FORMULA.sub("code", text)
    text = IMAGE.sub(r"\n\n\1\n\n", text)
    text = LINK.sub(r"\1", text)
    text = DETAILS_OR_TAG.sub("\n\n", text)
    return re.sub(r"<[^>]+>", "", text)


def sentences(markdown: str) -> list[str]:
    """Return the sentences of a text; a title, an item of a list, a table's cell end one as well."""
    pieces = [" ".join(piece.split()) for piece in PIECE.split(plain(markdown))]
    return [sentence for piece in pieces for sentence in END.split(piece) if sentence]


def count_words(text: str) -> int:
    return len(WORD.findall(text))


def messages(path: Path) -> list[str]:
    """Return the texts in a Python file that are no docstrings, with "code" for what is filled in."""
    texts = _Texts()
    texts.visit(ast.parse(path.read_text(encoding="utf-8")))
    return [text for text in texts.found if text.count(" ") > 3]


class _Texts(ast.NodeVisitor):
    def __init__(self):
        self.found = []

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # else a docstring
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.found.append(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self.found.append(
            "".join(
                part.value if isinstance(part, ast.Constant) else "code" for part in node.values
            )
        )
