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
        (shared(FOUND, same="text.strip().lower()"), "inside a text white space"),
        (shared(FOUND, same="' '.join(text.split())"), "capitals still make a difference"),
        (shared(FOUND, same="''.join(text.lower().split())"), "leave one between words"),
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
GUESSES = {
    "6.D never looks": [
        ("14.3", "with a class by lot"),
        ("50", "two classes of equal size"),
        ("5", "may name the largest class"),
        ("90", "more texts than the largest class has"),
    ],
    "6.D set aside": [
        ("2", "goes, too"),
        ("10", "it is read as the same class"),
        ("8", "The text that repeats another stays"),
        ("20", "Ask of each row"),
    ],
    "6.D copies": [
        ("100", "in the other two parts"),
        ("20", "how many texts are tested with"),
        ("40", "the copy can lie anywhere"),
        ("90", "some copies lie in"),
    ],
    "6.D flattered": [
        ("50", "gained nothing"),
        ("100", "Not all test texts"),
        ("70", "half of the rest"),
        ("93", "half of these are wrong"),
    ],
    "6.D always the largest": [
        ("0.21", "That is its accuracy"),
        ("0.34", "of money alone"),
        ("0", "A little is left"),
        ("0.5", "each other class has 0"),
    ],
    "6.D beside counting words": [
        ("the nano", "it is tiny"),
        ("about the same", "a difference can be seen"),
    ],
    "6.D class weights": [
        ("recall rises, accuracy rises", "those are many"),
        ("recall falls, accuracy rises", "The other way round"),
        ("recall falls, accuracy falls", "so recall rises"),
    ],
}
