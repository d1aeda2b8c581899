"""The real downloads and the book's printed figures. Off by default: `pytest -m network`."""

import pytest
import torch

from helpers.config import gpt_config
from helpers.data import create_dataloaders
from helpers.freezing import FreezePlan, replace_head
from helpers.loading import download_and_load_gpt2, load_weights_into_gpt
from helpers.model import GPTModel, generate_text_simple
from helpers.tokenizer import text_to_token_ids, token_ids_to_text
from helpers.training import calc_accuracy_loader, calc_loss_loader, train_classifier_simple

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture
def model(folder):
    settings, params = download_and_load_gpt2("124M", folder / "gpt2")
    assert settings == {"n_vocab": 50257, "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12}
    model = GPTModel(gpt_config("gpt2-small (124M)"))
    load_weights_into_gpt(model, params)
    return model.eval()


def test_gpt2_124M_writes_the_books_sentence(model):
    ids = generate_text_simple(model, text_to_token_ids("Every effort moves you"), 15, 1024)
    assert token_ids_to_text(ids) == (
        "Every effort moves you forward.\n\n"
        "The first step is to understand the importance of your work"
    )


def test_the_classifier_has_the_books_figures_before_and_after_fine_tuning(model, folder):
    torch.manual_seed(123)
    replace_head(model)
    FreezePlan.book(12).apply(model)
    with torch.no_grad():
        outputs = model(text_to_token_ids("Do you have time"))
    expected = [[-1.5854, 0.9904], [-3.7235, 7.4548], [-2.2661, 6.6049], [-3.5983, 3.9902]]
    torch.testing.assert_close(outputs[0], torch.tensor(expected), atol=2e-3, rtol=0)

    torch.manual_seed(123)
    loaders = create_dataloaders("sms-spam-collection", data_dir=folder / "sms")
    torch.manual_seed(123)
    accuracies = [
        100 * calc_accuracy_loader(loader, model, "cpu", num_batches=10) for loader in loaders
    ]
    assert accuracies == pytest.approx([46.25, 45.00, 48.75], abs=1.3)
    losses = [calc_loss_loader(loader, model, "cpu", num_batches=5) for loader in loaders]
    assert losses == pytest.approx([2.453, 2.583, 2.322], abs=0.02)

    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.1)
    torch.manual_seed(123)
    train_classifier_simple(
        model, *loaders[:2], optimizer, "cpu", num_epochs=5, eval_freq=50, eval_iter=5
    )
    accuracies = [100 * calc_accuracy_loader(loader, model, "cpu") for loader in loaders]
    assert accuracies == pytest.approx([97.21, 97.32, 95.67], abs=2)
