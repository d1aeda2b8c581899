"""Wrong solutions and guesses of section 6.4, with words of what is said to each."""

BEGIN = (
    "import torch\n@torch.no_grad()\ndef my_put_in_place(attention, w, b):\n"
    "    layers = [attention.W_query, attention.W_key, attention.W_value]\n"
    "    n = w.shape[0]\n"
)
LOOP = "    for i, layer in enumerate(layers):\n        part = slice(i * n, (i + 1) * n)\n"
BIAS = "        layer.bias.copy_(b[part])\n"
TURNED = "        layer.weight.copy_(w[:, part].T)\n"

WRONG = {
    "my_put_in_place": [
        (BEGIN + LOOP + "        layer.weight.copy_(w[:, part])\n" + BIAS, "are not turned"),
        (
            BEGIN + LOOP + "        layer.weight.copy_(w[:, i::3].T)\n" + BIAS,
            "every third column",
        ),
        (BEGIN + "    layers = layers[::-1]\n" + LOOP + TURNED + BIAS, "in another order"),
        (BEGIN + LOOP + TURNED, "the biases are missing"),
        (BEGIN + LOOP + TURNED + "        layer.bias.copy_(b[:n])\n", "not the thirds of b"),
        (BEGIN + LOOP + BIAS, "still zero"),
        (BEGIN + LOOP + "        layer.weight.copy_(w[:, :n].T)\n" + BIAS, "not the thirds of w"),
        (
            BEGIN + LOOP + "        layer.weight = torch.nn.Parameter(w[:, part].T)\n" + BIAS,
            "you replaced a layer or a parameter",
        ),
        (BEGIN + LOOP + TURNED + BIAS + "    w.zero_()\n", "changed the checkpoint's arrays"),
        (
            "def my_put_in_place(attention, w, b):\n    attention.W_query.weight.copy_(w[:, :4].T)",
            "your line 2 raised RuntimeError",
        ),
    ],
}

GUESSES = {
    "6.4 most like win": [("prize", "does not stand where"), ("free", "different places")],
    "6.4 groups of words": [
        ("family and numbers", "hardly used alike"),
        ("days and family", "names with a capital"),
    ],
    "6.4 shape of the embedding": [
        ("(192, 50257)", "The other way round"),
        ("1024 x 192", "a row for each position"),
        ("50257", "has the two numbers"),
    ],
    "6.4 the largest part": [
        ("pos_emb", "1,024 rows"),
        ("trf_blocks", "in GPT-2 124M"),
        ("final_norm", "the fewest of all"),
    ],
    "6.4 whose phone": [
        ("My", "comes first"),
        ("lost", "Another head does that"),
        ("her", "looks further back"),
    ],
    "6.4 another head": [
        ("My", "one nearer"),
        ("sister", "the other head"),
        ("her", "one word further back"),
    ],
}
