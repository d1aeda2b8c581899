"""Pretraining follows its recipe and learns, and its command goes from text to a checkpoint."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from helpers.loading import read_checkpoint
from tests.conftest import TINY
from workshop.pretraining import (
    Recipe,
    batch_of,
    encode_documents,
    held_out_figures,
    learning_rate,
    main,
    new_model,
    new_optimizer,
    pretrain,
    read_documents,
    sample_candidates,
    split_documents,
    token_losses,
    validation_losses,
)

CFG = TINY | {"drop_rate": 0.1, "n_layers": 2}
RECIPE = Recipe(steps=12, tokens_per_step=64, lengths=(8, 16), lr=1e-2, warmup_steps=3)
TOKENS = np.tile(np.arange(100, 150, dtype=np.uint16), 20)  # 1,000 tokens that repeat


def run(recipe=RECIPE, cfg=CFG, **settings):
    model = new_model(cfg)
    return model, pretrain(model, TOKENS, TOKENS[:100], recipe, **settings)


def test_documents_are_read_in_order_and_some_of_them_held_out(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").write_text("one\n<|endoftext|>\ntwo\n<|endoftext|>\n\n")
    (tmp_path / "b" / "c.txt").write_text("three")
    (tmp_path / "d.md").write_text("not this one")
    assert read_documents(tmp_path) == ["one", "two", "three"]
    tokens = encode_documents(["Do you have time", "Do"])
    assert tokens.tolist() == [50256, 5211, 345, 423, 640, 50256, 5211]
    assert tokens.dtype == np.uint16
    train, held_out = split_documents([str(i) for i in range(100)], held_out=0.1)
    assert len(held_out) == 10 and sorted(map(int, train + held_out)) == list(range(100))
    with pytest.raises(ValueError, match="1 document.s. are too few"):
        split_documents(["one"])


def test_a_batch_depends_on_seed_and_step_alone_and_targets_are_one_token_on():
    inputs, targets = batch_of(TOKENS, RECIPE, 5)
    assert torch.equal(inputs[:, 1:], targets[:, :-1]) and inputs.numel() == 64
    assert torch.equal(inputs, batch_of(TOKENS, RECIPE, 5)[0])
    assert not torch.equal(inputs, batch_of(TOKENS, replace(RECIPE, seed=1), 5)[0])
    assert {batch_of(TOKENS, RECIPE, step)[0].shape[1] for step in range(20)} == {8, 16}


def test_a_step_s_candidates_hold_its_targets_and_stand_for_the_whole_vocabulary():
    targets = torch.tensor([[5, 9], [5, 50256]])
    places, ids, log_weights = sample_candidates(targets, 50257, 1000, seed=1)
    assert ids.shape == log_weights.shape == (1000,) and len(ids.unique()) == 1000
    assert torch.equal(ids[places], targets)
    assert log_weights[places].eq(0).all()
    assert log_weights.exp().sum().item() == pytest.approx(50257, rel=1e-4)
    assert not torch.equal(ids, sample_candidates(targets, 50257, 1000, seed=2)[1])


def test_the_sampled_softmax_gives_the_loss_of_the_whole_vocabulary():
    model = new_model(CFG).eval()
    with torch.no_grad():
        model.tok_emb.weight.mul_(15)  # so that tokens differ in probability
        inputs, targets = batch_of(TOKENS, RECIPE, 0)
        expected = -model(inputs).log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
        whole = token_losses(model, inputs, targets)
        torch.testing.assert_close(whole, expected, atol=0.1, rtol=0)  # bfloat16
        places, ids, log_weights = sample_candidates(targets, 50257, 50257, seed=0)
        torch.testing.assert_close(
            token_losses(model, inputs, places, ids, log_weights), whole, atol=0.02, rtol=0
        )
        sampled = []
        for seed in range(30):
            places, ids, log_weights = sample_candidates(targets, 50257, 5000, seed)
            sampled.append(token_losses(model, inputs, places, ids, log_weights))
            without_weights = token_losses(model, inputs, places, ids)
    assert torch.stack(sampled).mean(dim=0).sub(whole).abs().max() < 0.1
    assert without_weights.sub(whole).abs().min() > 1


def test_the_rate_warms_up_to_its_peak_and_falls_to_a_tenth():
    rates = [learning_rate(step, RECIPE, 12) for step in range(13)]
    assert rates[2] == rates[3] == pytest.approx(1e-2) == max(rates)
    assert rates[12] == pytest.approx(1e-3) == min(rates[3:])
    assert rates[0] == pytest.approx(1e-2 / 3)
    assert rates[3:] == sorted(rates[3:], reverse=True)


def test_the_head_is_the_embedding_only_matrices_decay_and_weights_begin_as_gpt2s():
    model = new_model(CFG)
    assert model.out_head.weight is model.tok_emb.weight
    matrices, rest = new_optimizer(model, RECIPE).param_groups
    assert matrices["weight_decay"] == 0.1 and {p.ndim for p in matrices["params"]} == {2}
    assert rest["weight_decay"] == 0.0 and {p.ndim for p in rest["params"]} == {1}
    assert sum(len(group["params"]) for group in (matrices, rest)) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            adds = "out_proj" in name or "layers.2" in name  # to the residual stream
            std = 0.02 / 2 if adds else 0.02
            assert parameter.std().item() == pytest.approx(std, rel=0.25), name
        else:
            assert (parameter == (1.0 if "scale" in name else 0.0)).all(), name


def test_a_text_that_repeats_is_learned_and_samples_are_drawn_without_dropout():
    modes, recipe = [], replace(RECIPE, steps=100)
    model = new_model(CFG)
    progress = pretrain(
        model, TOKENS, TOKENS[:100], recipe, validate_every=50,
        at_validation=lambda _: modes.append(model.training),
    )  # fmt: skip
    assert modes == [False, False] and not model.training
    assert progress.losses[0] > 10 and progress.losses[-1] < 5
    assert [step for step, _ in progress.validation] == [50, 100]
    assert progress.validation[-1][1] < progress.validation[0][1]


def test_minutes_become_steps_and_train_as_that_many_steps_do():
    model, progress = run(replace(RECIPE, steps=None), minutes=0.03)
    assert progress.step > 3 and progress.validation[-1][0] == progress.step
    again, expected = run(replace(RECIPE, steps=progress.step))
    np.testing.assert_allclose(progress.losses, expected.losses, atol=1e-6)
    for name, tensor in again.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, atol=1e-6, rtol=0)


def test_each_step_has_its_rate_and_a_clipped_gradient():
    seen = []

    def look(optimizer, args, kwargs):
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        rates = {group["lr"] for group in optimizer.param_groups}
        seen.append((rates, torch.nn.utils.get_total_norm(gradients).item()))

    hook = register_optimizer_step_pre_hook(look)
    run(replace(RECIPE, clip=0.01))
    hook.remove()
    expected = [{learning_rate(step, RECIPE, 12)} for step in range(12)]
    assert [rates for rates, _ in seen] == expected
    assert [norm for _, norm in seen] == pytest.approx([0.01] * 12, rel=1e-3)


def test_validation_knows_no_dropout_and_the_held_out_figures_are_its_means():
    model = new_model(CFG | {"drop_rate": 0.5}).train()
    losses = validation_losses(model, TOKENS, 32)
    assert not model.training and (losses == validation_losses(model, TOKENS, 32)).all()
    assert held_out_figures(model, TOKENS) == {
        "loss": pytest.approx(losses.mean(), abs=1e-3),
        "perplexity at positions 2 to 3": pytest.approx(np.exp(losses[2:4].mean()), abs=1e-3),
        "perplexity at positions 16 to 31": pytest.approx(np.exp(losses[16:].mean()), abs=1e-3),
    }


def test_a_loss_that_is_not_finite_stops_the_run():
    with pytest.raises(FloatingPointError, match=r"the loss is nan at step \d+"):
        run(replace(RECIPE, lr=1e30))


def test_the_command_goes_from_a_folder_of_text_to_a_checkpoint_and_on_from_there(tmp_path, capsys):
    text, first, second, also = (tmp_path / name for name in ("text", "first", "second", "also"))
    sentence = "The {}th sentence of a text that is long enough to be read. "
    text.mkdir()
    (text / "a.txt").write_text(
        "\n<|endoftext|>\n".join(sentence.format(i) * 120 for i in range(10))
    )
    also.mkdir()
    (also / "b.txt").write_text("A short one.\n<|endoftext|>\nAnother.")
    command = ["--text", str(text), "--steps", "1", "--out"]
    with pytest.raises(SystemExit, match="^0$"):
        main([*command, str(first)])
    printed = capsys.readouterr().out
    assert "9 documents" in printed and "1 steps; on held-out documents: {'loss': " in printed
    settings, params = read_checkpoint(first / "checkpoint")
    assert settings["n_embd"] == 192 and params["wte"].shape == (50257, 192)
    figures = json.loads((first / "run.json").read_text())
    assert {"losses", "validation", "held_out"} <= figures.keys()

    onward = ["--lr", "0", "--start-from", str(first / "checkpoint"), "--also", str(also)]
    with pytest.raises(SystemExit, match="^0$"):
        main([*command, str(second), *onward])
    assert "11 documents" in capsys.readouterr().out
    _, same = read_checkpoint(second / "checkpoint")
    np.testing.assert_array_equal(same["wte"], params["wte"])  # the rate is 0
