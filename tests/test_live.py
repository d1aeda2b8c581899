"""What a page computes without Python is what Python computes: tokens, logits, gradients, training."""

import base64
import copy
import random
from statistics import mean, stdev

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch.nn import functional as F

from helpers.classify import SpamClassifier
from helpers.config import END_OF_TEXT
from helpers.data import SpamDataset, load_splits
from helpers.freezing import FreezePlan, pieces_of, replace_head
from helpers.loading import load_pretrained
from helpers.model import GPTModel
from helpers.tokenizer import get_tokenizer, visible_tokens
from helpers.training import class_logits
from tests import lab
from tests.nano import BOOK, EVERYTHING, HEAD, NANO, accuracy_on_test
from workshop import inside, live
from workshop.fast import fine_tune

PLANS = {"head only": HEAD, "the book's choice": BOOK, "everything": EVERYTHING}
PREPARE = """async ({gpt2, tensors, tokenizer}) => {
    for (const address of [gpt2, tensors, tokenizer]) Object.assign(globalThis, await import(address));
    globalThis.bytesOf = text => Uint8Array.from(atob(text), sign => sign.charCodeAt(0));
    globalThis.toBase64 = numbers => {
        const bytes = new Uint8Array(numbers.buffer), parts = [];
        for (let i = 0; i < bytes.length; i += 30000)
            parts.push(btoa(String.fromCharCode(...bytes.subarray(i, i + 30000))));
        return parts.join("");
    };
    await startKernel(bytesOf(course.kernel));
    globalThis.words = new Tokenizer(course.merges);
    globalThis.classifier = new Classifier(bytesOf(course.weights).buffer);
}"""
LEARN = """([pieces, messages, labels]) => {
    const seed = 5, settings = {epochs: 5, batchSize: 8, rate: 1e-3, weightDecay: 0.1, seed,
        tokensAtOnce: 100};
    const twice = {messages: [...messages, ...messages], labels: [...labels, ...labels]};
    const texts = {...twice, train: 8, validation: 4}, losses = [];
    for (const progress of classifier.fineTune(pieces, texts, 2, settings))
        if (progress?.loss !== undefined) losses.push(progress.loss);
    const again = [...classifier.fineTune(pieces, texts, 2, settings)].map(news => news?.phase);
    classifier.reset(2, randomNumbers(seed)); // as at the start of that training
    const head = ["weight", "bias"].map(name => Array.from(classifier.parameters[`out_head.${name}`].data));
    classifier.unfreeze(pieces);
    const loss = crossEntropy(classifier.logits(messages), labels), gradients = {};
    backward(loss);
    for (const [name, {hasGradient, gradient, columns}] of Object.entries(classifier.parameters)) {
        if (!hasGradient) continue;
        const rows = name === "tok_emb.weight" ? [...new Set(messages.flat())] : null; // others are 0
        const shown = rows ? Float32Array.from(rows.flatMap(id =>
            Array.from(gradient.subarray(id * columns, (id + 1) * columns)))) : gradient;
        gradients[name] = [toBase64(shown), rows];
    }
    return {head, losses, again, loss: loss.data[0], gradients};
}"""


@pytest.fixture(scope="module")
def page():
    """A page with the engine of site/try.html and the bundled model."""
    if lab.missing():
        pytest.skip(lab.missing())
    modules = ("gpt2", "tensors", "tokenizer")
    with lab.browser() as browser:
        page = browser.new_page()
        page.set_default_timeout(0)
        page.add_script_tag(content=live.model_script())
        page.evaluate(PREPARE, {name: live.module_address(f"{name}.mjs") for name in modules})
        yield page


def as_the_page_has_it(model: GPTModel) -> GPTModel:
    """A copy of a model whose weights are rounded as in the page's file."""
    tensors, rounded = load(live.compact_weights(model)), copy.deepcopy(model)
    numbers = {name: tensor.float() for name, tensor in tensors.items()}
    rounded.load_state_dict(numbers, strict=False)
    return rounded


def some_messages(count: int) -> list[str]:
    """Parts of the bundled messages, with signs of many scripts, emoji and control characters."""
    draw = random.Random(7)
    texts = [text for split in load_splits("sms-mini") for text in split["Text"]]
    ranges = [(0, 0x250), (0x300, 0x3FF), (0x590, 0x6FF), (0x900, 0x97F), (0x1F00, 0x206F)]
    ranges += [(0x3040, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xADFF), (0xFE00, 0xFEFF)]
    ranges += [(0x1F300, 0x1FAFF), (0x20000, 0x200FF)]
    messages = []
    for _ in range(count):
        parts = [draw.choice(texts)[: draw.randrange(60)] for _ in range(2)]
        strange = "".join(chr(draw.randint(*draw.choice(ranges))) for _ in range(draw.randrange(9)))
        spaces = draw.choice(
            [" ", "  ", "\n", "\t", "\u00a0", "\u2003 ", "\x85", "\ufeff", "'", "12"]
        )
        messages.append(parts[0] + spaces + strange + spaces * draw.randrange(3) + parts[1])
    return messages


def check_tokens(page, count: int) -> None:
    messages, tokenizer = some_messages(count), get_tokenizer()
    found = page.evaluate("texts => texts.map(text => words.encode(text))", messages)
    for message, ids in zip(messages, found, strict=True):
        assert ids == tokenizer.encode(message, disallowed_special=()), message


def test_the_page_splits_messages_into_the_same_tokens(page):
    check_tokens(page, 500)


@pytest.mark.proof
def test_the_page_splits_ten_thousand_messages_into_the_same_tokens(page):
    check_tokens(page, 10_000)


def test_the_page_shows_each_token_as_python_does(page):
    found = page.evaluate(f"Array.from({{length: {END_OF_TEXT}}}, (_, id) => words.show(id))")
    assert found == visible_tokens(list(range(END_OF_TEXT)), get_tokenizer())


def check_answers(page, classifier: SpamClassifier, texts: list[str]) -> None:
    """Logits differ by less than 0.05, and no prediction differs."""
    expected, tokenizer = classifier.logits(texts), get_tokenizer()
    weights = base64.b64encode(live.compact_weights(classifier.model)).decode()
    rows = [tokenizer.encode(text)[: classifier.max_length] for text in texts]
    script = """([weights, rows]) => {
        const model = new Classifier(bytesOf(weights).buffer);
        return rows.map(ids => {
            return [Array.from(model.logits([ids]).data), model.read(ids).probabilities];
        });
    }"""
    for logits, (found, probabilities) in zip(
        expected, page.evaluate(script, [weights, rows]), strict=True
    ):
        torch.testing.assert_close(torch.tensor(found), logits, atol=0.05, rtol=0)
        assert np.argmax(found) == logits.argmax()
        torch.testing.assert_close(
            torch.tensor(probabilities), torch.tensor(found).softmax(0), atol=1e-5, rtol=0
        )


@pytest.fixture(scope="module")
def trained() -> SpamClassifier:
    """The nano, fine-tuned by the book's plan."""
    train, validation, _ = load_splits("sms-mini")
    train = SpamDataset(train, get_tokenizer())
    validation = SpamDataset(validation, get_tokenizer(), train.max_length)
    torch.manual_seed(123)
    model = replace_head(load_pretrained(NANO))
    settings = {"epochs": 2, "lr": 1e-3, "position": "last_token", "progress": False}
    fine_tune(model, train, validation, BOOK, **settings)
    return SpamClassifier(model, train.max_length, position="last_token")


def test_the_page_predicts_what_python_predicts(page, trained):
    check_answers(page, trained, list(load_splits("sms-mini")[2]["Text"][:20]))


@pytest.mark.proof
def test_the_page_predicts_for_all_test_messages_what_python_predicts(page, trained):
    check_answers(page, trained, list(load_splits("sms-mini")[2]["Text"]))


def test_influence_attention_and_the_answer_after_each_block_are_those_of_python(page, trained):
    script = """([weights, rows]) => {
        const model = new Classifier(bytesOf(weights).buffer);
        return rows.map(ids => [model.read(ids), Array.from(model.influence(ids, 1))]);
    }"""
    texts = list(load_splits("sms-mini")[2]["Text"][:4])
    readings = [inside.read_message(trained, text, "0", "last_token") for text in texts]
    weights = base64.b64encode(live.compact_weights(trained.model)).decode()
    rows = [list(reading.token_ids) for reading in readings]
    for reading, (found, influence) in zip(
        readings, page.evaluate(script, [weights, rows]), strict=True
    ):
        expected = inside.answer(trained, reading)
        for of_page, of_python, tolerance in (
            (found["after"], expected.after_blocks, 0.005),
            (found["attention"], expected.attention, 0.005),
            (influence, inside.influence_on_spam(trained, reading), 0.05),
        ):
            of_page = torch.tensor(of_page)
            torch.testing.assert_close(of_page, of_python, atol=tolerance, rtol=0)


def numbers_of(text: str, like: torch.Tensor) -> torch.Tensor:
    """The numbers of a parameter as the page has them; it keeps matrices transposed."""
    numbers = torch.from_numpy(np.frombuffer(base64.b64decode(text), np.float32).copy())
    return numbers.view(like.T.shape).T if like.ndim == 2 else numbers


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_losses_and_all_gradients_are_those_of_torch(page, plan: FreezePlan):
    train, tokenizer = load_splits("sms-mini")[0][:8], get_tokenizer()
    messages, labels = [tokenizer.encode(text) for text in train["Text"]], list(train["Label"])
    pieces = [piece for part in plan.trainable for piece in pieces_of(part)]
    found = page.evaluate(LEARN, [pieces, messages, labels])
    assert set(found["again"]) == {"training", None}  # the frozen layers' output is kept
    model = as_the_page_has_it(replace_head(load_pretrained(NANO)))
    weight, bias = map(torch.tensor, found["head"])
    with torch.no_grad():
        model.out_head.weight.copy_(weight.view(-1, 2).T)
        model.out_head.bias.copy_(bias)
    plan.apply(model)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.1
    )
    for step, of_page in enumerate(found["losses"]):
        rows = [class_logits(model, torch.tensor([ids]), "last_token") for ids in messages]
        loss = F.cross_entropy(torch.cat(rows), torch.tensor(labels))
        assert of_page == pytest.approx(loss.item(), abs=1e-4 if step == 0 else 2e-3)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            assert found["loss"] == pytest.approx(loss.item(), abs=1e-4)
            check_gradients(model, found["gradients"])
        optimizer.step()


def check_gradients(model: GPTModel, found: dict) -> None:
    """Each gradient differs from torch's by less than 1e-4 of its length."""
    expected = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert found.keys() == expected.keys()
    for name, (text, ids) in found.items():
        gradient = expected[name]
        if ids is not None:
            gradient = gradient[ids].flatten()
        elif name == "pos_emb.weight":
            gradient = gradient.flatten()
        difference = numbers_of(text, gradient) - gradient
        # the gradient of a key's bias is 0, up to rounding: it adds the same to all scores
        assert difference.norm() <= 1e-4 * gradient.norm() + 1e-7, name


def test_without_simd_a_sentence_says_what_is_missing(page):
    script = """async () => {
        const {validate} = WebAssembly;
        WebAssembly.validate = () => false;
        try { await startKernel(new Uint8Array(8)); }
        catch (error) { return error.message; }
        finally { WebAssembly.validate = validate; }
    }"""
    assert "no WebAssembly with SIMD" in page.evaluate(script)


@pytest.mark.proof
def test_the_accuracy_after_training_is_like_that_of_five_seeds_of_torch(page):
    script = """seeds => {
        const parts = Object.values(course.texts), labels = parts.flatMap(part => part.labels);
        const messages = parts.flatMap(part => part.texts).map(text => words.encode(text));
        const texts = {messages, labels, train: 700, validation: 100};
        const settings = {epochs: 5, batchSize: 8, rate: 1e-3, weightDecay: 0.1, tokensAtOnce: 256};
        const pieces = ["trf_blocks.5.norm1", "trf_blocks.5.att", "trf_blocks.5.norm2",
            "trf_blocks.5.ff", "final_norm", "out_head"];
        return seeds.map(seed => {
            let last;
            for (last of classifier.fineTune(pieces, texts, 2, {...settings, seed}));
            return last.test;
        });
    }"""
    of_torch = [accuracy_on_test("sms-mini", seed, BOOK) for seed in range(1, 6)]
    # 95 % of further runs lie there (Student's t, four degrees of freedom)
    half = 2.776 * stdev(of_torch) * (1 + 1 / 5) ** 0.5
    of_page = page.evaluate(script, [123, 1, 2])
    assert abs(of_page[0] - mean(of_torch)) <= half, (of_page, of_torch)
    assert abs(mean(of_page) - mean(of_torch)) <= half, (of_page, of_torch)
