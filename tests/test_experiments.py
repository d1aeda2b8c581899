"""Each row of the table means what it says, is trained once, and is compared as the page says."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from helpers.config import END_OF_TEXT, MODEL_CONFIGS
from helpers.data import DATA_NAMES
from helpers.loading import load_pretrained
from helpers.training import TrainingSettings, class_logits
from tests.conftest import ROOT, TINY, random_model
from workshop import compare as report
from workshop.compare import compare, compare_all, draw_dot_plot, in_points, table
from workshop.experiments import (
    CONTEXT,
    ROWS,
    Experiment,
    class_logits_of,
    main,
    make_classifier,
    make_datasets,
    make_model,
    measure,
    parse_rows,
    run_id,
    train,
    why_not,
)
from workshop.lab import read_rows

NANO, SMALL = "gpt2-nano (12M)", "gpt2-small (124M)"
WORDS = [
    "free", "prize", "call", "now", "to", "claim", "see", "you", "at", "eight", "love", "ok", "sorry",
    "win", "cash", "text", "home", "late",
]  # fmt: skip


def messages(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, rng.integers(3, 9), replace=False)) for _ in range(count)]
    return pd.DataFrame({"Label": [i % 2 for i in range(count)], "Text": texts})


PARTS = messages(18, 0), messages(10, 1), messages(12, 2)


def row(number: int, **changes) -> Experiment:
    """A row for the tiny model below; one epoch, at a rate at which it moves."""
    changes = {"epochs": 1, "lr": 1e-2} | changes
    return replace(ROWS[number].experiment(NANO, "sms-mini"), **changes)


def tiny_classifier(experiment: Experiment, seed: int = 1, **changes):
    """A classifier whose answer depends much on every token that it sees."""
    model = random_model(TINY | changes)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(mean=float(name.endswith("scale")), std=0.4)
    return make_classifier(model, experiment, seed)


def trained(experiment: Experiment, seed: int = 1, **changes):
    """The model after one epoch, and the loss of each step."""
    model = tiny_classifier(experiment, seed, **changes)
    history = train(model, experiment, make_datasets(experiment, PARTS, seed), seed)
    return model, history.step_losses


def answers(model, experiment: Experiment, texts: list[str]) -> torch.Tensor:
    """The logits that classify, cut or padded as the experiment says; the first text is longest."""
    part = pd.DataFrame({"Label": [0] * len(texts), "Text": texts})
    data, *_ = make_datasets(experiment, (part, part, part), 1)
    plan = experiment.plan(len(model.trf_blocks))
    return class_logits_of(model, data, plan, experiment.position)


# --- what each row means ---------------------------------------------------------------------


@pytest.mark.parametrize("data", DATA_NAMES)
@pytest.mark.parametrize("model", MODEL_CONFIGS)
@pytest.mark.parametrize("number", ROWS)
def test_every_row_exists_for_every_size_and_both_data_sets(number, model, data):
    experiment = ROWS[number].experiment(model, data)
    assert experiment.model == ROWS[number].changes.get("model", model) and experiment.data == data
    assert ROWS[number].against in ROWS
    if experiment.model != NANO:
        assert experiment.lr == TrainingSettings.for_model(experiment.model).lr == 5e-5


def test_the_rows_are_the_books_nineteen_and_one_of_the_courses():
    assert list(ROWS) == list(range(1, 21))
    assert [number for number in ROWS if ROWS[number].book is None] == [20]
    assert ROWS[1].changes == {} and all(ROWS[number].changes for number in range(2, 21))
    assert ROWS[10].against == 5 and ROWS[5].experiment(NANO, "sms-mini").weights == "pretrained"


def test_row_1_is_the_books_choices():
    experiment = ROWS[1].experiment(SMALL, "sms-spam-collection")
    assert (experiment.position, experiment.layers, experiment.max_length) == (
        "last", "last block", None,
    )  # fmt: skip
    assert (experiment.epochs, experiment.batch_size) == (5, 8)
    assert (experiment.lr, experiment.weight_decay) == (5e-5, 0.1)


def test_an_experiment_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        row(1).position = "first"


def test_row_2_knows_only_the_first_token():
    model = tiny_classifier(row(2))
    first, other_end, other_start = answers(
        model, row(2), ["free prize call now", "free home late", "love prize call now"]
    )
    torch.testing.assert_close(first, other_end)
    assert (first - other_start).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("number", "learning"),
    [
        (1, ["trf_blocks.2", "final_norm", "out_head"]),
        (3, ["out_head"]),
        (4, ["trf_blocks.1", "trf_blocks.2", "final_norm", "out_head"]),
        (5, ["tok_emb", "pos_emb", "trf_blocks.", "final_norm", "out_head"]),
    ],
)
def test_rows_of_layers_train_these_layers_and_no_other(number, learning):
    before = tiny_classifier(row(number)).state_dict()
    after = trained(row(number))[0].state_dict()
    for name, tensor in before.items():
        moved = not torch.equal(tensor, after[name])
        key_bias = name.endswith("W_key.bias")  # softmax does not see it: its gradient is 0
        assert moved == name.startswith(tuple(learning)) or key_bias, name


def test_row_10_has_nothing_of_the_checkpoint():
    experiment = ROWS[10].experiment(NANO, "sms-mini")
    pretrained, model = load_pretrained(NANO).state_dict(), make_model(experiment, 1)
    for name, tensor in model.state_dict().items():
        equal = (tensor == pretrained[name]).float().mean()
        assert equal < 0.05, name  # a few of a layer norm's are 1 in both
    again, other = make_model(experiment, 1), make_model(experiment, 2)
    assert torch.equal(again.tok_emb.weight, model.tok_emb.weight)
    assert not torch.equal(other.tok_emb.weight, model.tok_emb.weight)


def test_row_11_trains_the_adapters_and_the_head_and_nothing_else():
    experiment = row(11, rank=2)
    before = tiny_classifier(experiment)
    learning = {name for name, p in before.named_parameters() if p.requires_grad}
    adapters = {name for name in learning if "lora_" in name}
    assert learning - adapters == {"out_head.weight", "out_head.bias"}
    assert len(adapters) == 3 * 6 * 2  # blocks, matrices, A and B
    after = trained(experiment)[0].state_dict()
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after[name]) == (name not in learning), name


def test_the_adapters_of_row_11_depend_on_the_seed_alone():
    experiment = row(11, rank=2)
    one, same, other = (tiny_classifier(experiment, seed).state_dict() for seed in (1, 1, 2))
    torch.manual_seed(99)
    name = next(name for name in one if "lora_A" in name)
    assert torch.equal(one[name], same[name]) and not torch.equal(one[name], other[name])


def test_row_13_pads_to_the_context_and_trains():
    experiment = row(13)
    datasets = make_datasets(experiment, PARTS, 1)
    for data in datasets:
        assert {len(ids) for ids in data.encoded_texts} == {CONTEXT} == {1024}
        assert all(ids[20:] == [END_OF_TEXT] * 1004 for ids in data.encoded_texts)
    model, losses = trained(experiment, context_length=1024)
    assert len(losses) == 2 and measure(model, experiment, datasets)["loss"]["test"] > 0


def test_row_14_moves_the_weights_after_each_message_alone():
    _, losses = trained(row(14))
    assert len(losses) == 18
    lengths = {len(ids) for ids in make_datasets(row(14), PARTS, 1)[0].encoded_texts}
    assert len(lengths) > 1


def test_row_15_is_row_16_by_another_way():
    (one, losses), (other, other_losses) = trained(row(15)), trained(row(16))
    assert losses == pytest.approx(other_losses, abs=1e-5) and len(losses) == 2
    texts = ["free prize call now to claim", "ok see you"]
    expected = answers(other, row(16), texts)
    torch.testing.assert_close(answers(one, row(15), texts), expected, atol=1e-4, rtol=0)


def test_rows_15_and_16_are_the_same_for_the_causal_mask_only():
    experiment = row(16, causal_mask=False)
    model = tiny_classifier(experiment)
    texts = ["free prize call now to claim", "ok see you"]
    padded = answers(model, experiment, texts)[1]
    alone = answers(model, experiment, texts[1:])[0]
    assert (padded - alone).abs().max() > 1e-3


def test_row_16_classifies_by_the_last_token_before_the_padding():
    model, texts = tiny_classifier(row(16)), ["free prize call now to claim", "ok see you"]
    padded, alone = answers(model, row(16), texts)[1], answers(model, row(1), texts[1:])[0]
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=0)


def test_in_row_17_a_later_word_changes_an_earlier_row():
    token_ids = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 9]])
    with torch.no_grad():
        with_mask = tiny_classifier(row(1))(token_ids)[:, :3]
        without = tiny_classifier(row(17))(token_ids)[:, :3]
    torch.testing.assert_close(with_mask[0], with_mask[1])
    assert ((without[0] - without[1]).abs().amax(dim=-1) > 1e-3).all()


def test_row_17_trains_what_it_measures():
    model, losses = trained(row(17))
    datasets = make_datasets(row(17), PARTS, 1)
    token_ids = torch.tensor(datasets[2].encoded_texts)
    expected = F.cross_entropy(class_logits(model, token_ids), torch.tensor(datasets[2].labels))
    found = measure(model, row(17), datasets)["loss"]["test"]
    assert found == pytest.approx(expected.item(), abs=1e-5) and losses != trained(row(1))[1]


def test_row_18_gives_the_very_same_losses_as_row_1():
    (one, losses), (other, other_losses) = trained(row(1)), trained(row(18))
    assert row(18).ignore_index == END_OF_TEXT and losses == other_losses
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_an_ignore_index_that_is_a_label_does_change_the_losses():
    assert trained(row(18, ignore_index=1))[1] != trained(row(1))[1]


def test_row_19_takes_the_mean_over_all_tokens_the_padding_too():
    experiment = row(19)
    model, texts = tiny_classifier(experiment), ["free prize call now to claim", "ok see you"]
    data = make_datasets(experiment, [pd.DataFrame({"Label": [0, 0], "Text": texts})] * 3, 1)[0]
    assert data.encoded_texts[1][-1] == END_OF_TEXT
    with torch.no_grad():
        expected = model(torch.tensor(data.encoded_texts)).mean(dim=1)
    torch.testing.assert_close(answers(model, experiment, texts), expected, atol=1e-5, rtol=0)


def test_row_20_keeps_each_messages_words_but_not_their_order():
    def texts(seed, number=20):
        return [data.data["Text"].tolist() for data in make_datasets(row(number), PARTS, seed)]

    for part, written, shuffled in zip(PARTS, texts(1, number=1), texts(1), strict=True):
        assert written == part["Text"].tolist() != shuffled
        assert [sorted(text.split()) for text in written] == [
            sorted(text.split()) for text in shuffled
        ]
    assert texts(1) == texts(1) != texts(2)


@pytest.mark.parametrize("number", [n for n in ROWS if "model" not in ROWS[n].changes])
def test_a_row_repeats_with_its_seed_and_not_with_another(number):
    experiment = row(number, rank=2)
    changes = {"context_length": 1024}
    torch.manual_seed(5)
    _, losses = trained(experiment, 1, **changes)
    torch.manual_seed(6)
    assert trained(experiment, 1, **changes)[1] == losses != trained(experiment, 2, **changes)[1]


def test_a_measurement_is_that_of_the_plain_forward_pass():
    for number in (1, 3, 5, 19):
        experiment = row(number)
        model, _ = trained(experiment)
        datasets = make_datasets(experiment, PARTS, 1)
        found = measure(model, experiment, datasets)
        for part, data in zip(("train", "validation", "test"), datasets, strict=True):
            labels = torch.tensor(data.labels)
            with torch.no_grad():
                token_ids = torch.tensor(data.encoded_texts)
                logits = class_logits(model, token_ids, experiment.position)
            right = (logits.argmax(dim=-1) == labels).int().tolist()
            assert found["accuracy"][part] == pytest.approx(np.mean(right), abs=1e-6)
            loss = F.cross_entropy(logits, labels).item()
            assert found["loss"][part] == pytest.approx(loss, abs=1e-4)
        assert found["right"] == "".join(map(str, right))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "gpt2-smal (124M)"}, "unknown model"),
        ({"data": "mails"}, "data"),
        ({"weights": "half"}, "weights"),
        ({"position": "middle"}, "position"),
        ({"layers": "last"}, "layers"),
        ({"max_length": 2000}, "max_length"),
        ({"padding": False}, "batch_size must be 1"),
        ({"accumulation": 0}, "accumulation"),
        ({"epochs": 1.5}, "epochs"),
        ({"lr": -1.0}, "lr"),
        ({"rank": 0}, "rank"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(changes, said):
    with pytest.raises(ValueError, match=said):
        Experiment(**{"model": NANO, "data": "sms-mini"} | changes)


# --- which rows --------------------------------------------------------------------------------


def test_rows_are_named_by_numbers_and_ranges():
    assert parse_rows("1-5,10,11") == [1, 2, 3, 4, 5, 10, 11]
    assert parse_rows(" 3 , 2 - 4 ") == [2, 3, 4] and parse_rows("20") == [20]


@pytest.mark.parametrize("text", ["", "0", "21", "5-3", "1-99999999999", "a", "1;2", "-3", "1,,2"])
def test_what_names_no_rows_is_refused(text):
    with pytest.raises(ValueError, match="names no rows"):
        parse_rows(text)


def test_a_row_that_has_nothing_to_tell_is_skipped_with_the_reason():
    assert [number for number in ROWS if why_not(number, NANO)] == [6, 7, 8, 9, 12]
    assert "the nano has none" in why_not(6, NANO)
    assert not any(why_not(number, SMALL) for number in ROWS)
    assert why_not(6, "gpt2-medium (355M)").endswith("it is row 1")
    assert not why_not(9, "gpt2-xl (1558M)")


def test_another_setting_seed_or_row_has_another_name_and_the_same_has_the_same():
    experiments = [
        (1, row(1), 1), (18, row(18), 1), (1, row(1), 2), (1, row(1, epochs=2), 1),
        (1, row(1, weights="random"), 1), (1, replace(row(1), lr=1e-4), 1),
    ]  # fmt: skip
    names = [run_id(*experiment) for experiment in experiments]
    assert len(set(names)) == len(names)
    assert names == [run_id(*experiment) for experiment in experiments]


# --- how rows compare ----------------------------------------------------------------------------


def results_of(number: int, rights: list[str], **origin) -> list[dict]:
    fingerprint = {"checkpoint": "c", "data": "d", "code": "e"} | origin
    return [
        {
            "id": f"{number} {seed}", "row": number, "seed": seed, "right": right,
            "fingerprint": fingerprint,
            "accuracy": {"train": 1.0, "test": right.count("1") / len(right)},
        }
        for seed, right in enumerate(rights, start=1)
    ]  # fmt: skip


GOOD, POOR, MIXED = "1" * 18 + "00", "1" * 6 + "0" * 14, "00" + "1" * 16 + "01"
RESULTS = (
    results_of(1, [GOOD, GOOD])
    + results_of(2, [POOR, POOR])
    + results_of(16, [MIXED, GOOD])
    + results_of(5, [POOR])
    + results_of(10, [GOOD])
)


def test_a_difference_is_better_or_worse_where_its_interval_leaves_out_zero():
    verdicts = {c.row: c.verdict for c in compare_all(RESULTS)}
    assert verdicts == {2: "worse", 5: "worse", 10: "better", 16: "no difference"}
    worse = compare(RESULTS, 2)
    assert worse.difference == pytest.approx(-0.6) and worse.low < -0.6 < worse.high < 0
    assert worse.mean == pytest.approx(0.3) and worse.seed_differences == pytest.approx(
        [-0.6, -0.6]
    )


def test_random_weights_are_compared_with_their_control():
    assert compare(RESULTS, 10).against == 5
    assert compare(RESULTS, 10, against=1).difference == pytest.approx(0.0)


def test_a_row_without_its_partner_has_no_comparison():
    assert compare(RESULTS, 3) is None and compare(results_of(2, [POOR]), 2) is None
    assert compare_all(results_of(2, [POOR])) == []


def test_only_seeds_that_both_rows_have_are_compared():
    results = results_of(1, [GOOD, GOOD]) + results_of(2, [GOOD, POOR, POOR])
    comparison = compare(results, 2)
    assert len(comparison.accuracies) == len(comparison.reference) == 2
    assert comparison.difference == pytest.approx(-0.3)


@pytest.mark.parametrize("origin", [{"data": "x"}, {"code": "x"}])
def test_unlike_is_not_compared_with_like(origin):
    with pytest.raises(ValueError, match="different data or code"):
        compare(RESULTS + results_of(3, [POOR], **origin), 3)


def test_points_have_their_sign_and_zero_has_none():
    assert [in_points(x) for x in (0.031, -0.0049, 0.0001, -0.0001, 0)] == [
        "+3.1", "−0.5", "0.0", "0.0", "0.0",
    ]  # fmt: skip


def test_the_table_has_a_line_for_each_row_in_columns():
    lines = table(RESULTS).splitlines()
    assert [int(line.split()[0]) for line in lines[1:]] == [1, 2, 5, 10, 16]
    assert "30.0 … 30.0" in lines[2] and "worse" in lines[2] and lines[2].endswith("75.00")
    assert len({len(line) for line in lines}) == 1 and len(lines[0]) < 130


def test_the_dot_plot_shows_each_row_its_interval_and_its_seeds_in_words_too():
    comparisons = compare_all(RESULTS)
    drawing = draw_dot_plot(comparisons)
    assert drawing.svg.count('opacity="0.4"') == sum(len(c.accuracies) for c in comparisons)
    for comparison in comparisons:
        words = ROWS[comparison.row].words
        assert words in drawing.svg and words in drawing.words
        assert report.say(comparison) in drawing.words
    numbers = [float(x) for x in re.findall(r'c?[xy]="([-\d.]+)"', drawing.svg)]
    width = float(re.search(r'width="(\d+)"', drawing.svg)[1])
    assert min(numbers) >= 0 and max(numbers) <= width
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_dot_plot([])


# --- the command -----------------------------------------------------------------------------


def command(folder, *arguments, **options):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "passive"}
    line = [sys.executable, "-m", "workshop.experiments", *arguments]
    return subprocess.Popen(
        line, cwd=folder, env=environment, text=True, encoding="utf-8",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rows", "1-40"], "'1-40' names no rows; give numbers from 1 to 20, such as 1-5,10,11"),
        (["--model", "gpt2"], "invalid choice: 'gpt2'"),
        (["--data", "mails"], "invalid choice: 'mails'"),
        (["--seeds", "0"], "--seeds must be a whole number from 1, not 0"),
        (["--seeds", "two"], "invalid int value: 'two'"),
        (["--jobs", "-1"], "--jobs must be a whole number from 0, not -1"),
        (["--rows", "2", "--out", "."], "--out . is a folder; name a file"),
    ],
)
def test_a_wrong_command_ends_in_one_sentence(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    words = capsys.readouterr().err if ended.value.code == 2 else ended.value.code
    assert said in words and len(words.strip().splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_command_goes_on_at_the_next_training(tmp_path):
    out = tmp_path / "results.jsonl"
    arguments = ("--rows", "2,6", "--seeds", "5", "--out", str(out), "--jobs", "1")
    first = command(tmp_path, *arguments, start_new_session=True)
    while len(read_rows(out)[0]) < 2:
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    before = out.read_bytes()
    done = len(read_rows(out)[0])
    assert 2 <= done < 5 and read_rows(out)[1] == []

    printed, errors = (second := command(tmp_path, *arguments)).communicate(timeout=300)
    assert second.returncode == 0, errors
    assert f"{done} of 5 trainings are in {out} already" in printed
    assert "row 6 is skipped" in printed and "the nano has none" in printed
    assert "left" in errors and "trainings 100%" in errors  # the bar
    rows, notes = read_rows(out)
    assert out.read_bytes().startswith(before) and notes == []
    names = [(row["row"], row["seed"]) for row in rows]
    assert sorted(names) == [(2, seed) for seed in (1, 2, 3, 4, 5)]
    assert all(len(row["right"]) == 200 for row in rows)

    printed, errors = (third := command(tmp_path, *arguments)).communicate(timeout=120)
    assert third.returncode == 0 and out.read_bytes().startswith(before)
    assert "5 of 5 trainings" in printed and len(read_rows(out)[0]) == 5
    assert "the first token classifies" in printed


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for others")
def test_an_interrupted_command_says_how_to_go_on(tmp_path):
    out = tmp_path / "results.jsonl"
    process = command(tmp_path, "--rows", "2", "--seeds", "50", "--out", str(out))
    while len(read_rows(out)[0]) < 1:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on" in printed
    assert "Traceback" not in errors and read_rows(out)[1] == []
