"""Wrong code and guesses of appendix 6.D, and what is said to them."""


def shared(*lines: str, same: str = "' '.join(text.lower().split())") -> str:
    head = f"def same(text):\n    return {same}\n\ndef my_shared_texts(train_texts, test_texts):\n"
    known = "    known = {same(text) for text in train_texts}\n"
    return head + known + "".join(f"    {line}\n" for line in lines)


FOUND = "return [text for text in test_texts if same(text) in known]"


def macro_f1(*lines: str) -> str:
    head = (
        "import numpy as np\n\ndef my_macro_f1(table):\n"
        "    right, correct, called = table.diagonal(), table.sum(axis=1), table.sum(axis=0)\n"
        "    precision, recall = right / np.maximum(called, 1), right / correct\n"
        "    f1 = 2 * right / (correct + called)\n"
    )
    return head + "".join(f"    {line}\n" for line in lines)


WRONG = {
    "my_shared_texts": [
        (shared(FOUND, same="text"), "equal to the letter"),
        (shared(FOUND, same="text.lower()"), "white space still makes a difference"),
        (shared(FOUND, same="text.strip().lower()"), "inside a text it makes a difference"),
        (shared(FOUND, same="' '.join(text.split())"), "capitals still make a difference"),
        (shared(FOUND, same="''.join(text.lower().split())"), "are the same: leave one"),
        (shared(FOUND.replace(" in known", " not in known")), "does *not* have"),
        (shared("return [same(text) for text in test_texts if same(text) in known]"), "as it is written"),
        (
            shared(
                "test = {same(text) for text in test_texts}",
                "return [text for text in train_texts if same(text) in test]",
            ),
            "the texts of the training part",
        ),
        (shared("return list(dict.fromkeys(text for text in test_texts if same(text) in known))"), "counts twice"),
        (
            shared("return [text for text in test_texts if any(one in same(text) for one in known)]"),
            "ask whether whole texts are equal",
        ),
        (shared("return {text for text in test_texts if same(text) in known}"), "a set has no order"),
        (shared("return len([text for text in test_texts if same(text) in known])"), "where a list of texts is due"),
        (shared("test_texts.sort()", FOUND), "changed a list"),
        (shared("return test_texts[:1] + test_texts[-2:-1]"), "the training part ['Call me NOW'"),
        (shared("known"), "returns nothing"),
    ],
    "my_macro_f1": [
        (macro_f1("return right.sum() / table.sum()"), "that is the accuracy"),
        (macro_f1("return precision.mean()"), "the mean of the precisions"),
        (macro_f1("return recall.mean()"), "the mean of the recalls"),
        (macro_f1("return f1.sum()"), "you added"),
        (macro_f1("return (f1 * correct).sum() / correct.sum()"), "weighted by their texts"),
        (macro_f1("return ((precision + recall) / 2).mean()"), "*harmonic* mean"),
        (
            macro_f1("p, r = precision.mean(), recall.mean()", "return 2 * p * r / (p + r)"),
            "you took means first",
        ),
        (macro_f1("return f1[f1 > 0].mean()"), "you left it out"),
        (
            macro_f1("p = right / called", "return (2 * p * recall / (p + recall)).mean()"),
            "0 / 0",
        ),
        (macro_f1("table[0, 0] = 0", "return f1.mean()"), "changed the table"),
        (macro_f1("return f1.max()"), "their mean is due"),
        (macro_f1("return f1"), "one number, not several"),
        (macro_f1("f1.mean()"), "returns nothing"),
    ],
}  # fmt: skip
