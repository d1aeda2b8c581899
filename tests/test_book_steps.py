"""The steps that a reader types from the chapter work; only where the names come from is ours."""

import pandas as pd
import torch
from torch.utils.data import DataLoader

from helpers.classify import classify_review
from helpers.data import SMS_MINI, SpamDataset, create_balanced_dataset, random_split
from helpers.loading import download_and_load_gpt2, load_weights_into_gpt
from helpers.model import GPTModel, generate_text_simple
from helpers.tokenizer import get_tokenizer, text_to_token_ids, token_ids_to_text
from helpers.training import calc_accuracy_loader, calc_loss_loader, train_classifier_simple


def test_a_reader_can_type_the_chapter_from_the_data_to_the_answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tokenizer = get_tokenizer()

    # the data, by way of CSV files
    table = pd.read_csv(SMS_MINI, sep="\t", header=None, names=["Label", "Text"])
    balanced_df = create_balanced_dataset(table)
    balanced_df["Label"] = balanced_df["Label"].map({"ham": 0, "spam": 1})
    train_df, validation_df, test_df = random_split(balanced_df, 0.7, 0.1)
    assert (len(train_df), len(validation_df), len(test_df)) == (700, 100, 200)
    train_df, validation_df = train_df[:320], validation_df[:40]  # to be quicker than a reader
    train_df.to_csv("train.csv", index=None)
    validation_df.to_csv("validation.csv", index=None)
    train_dataset = SpamDataset(csv_file="train.csv", max_length=None, tokenizer=tokenizer)
    max_length = train_dataset.max_length
    val_dataset = SpamDataset("validation.csv", max_length=max_length, tokenizer=tokenizer)
    torch.manual_seed(123)
    train_loader = DataLoader(train_dataset, batch_size=8, shuffle=True, drop_last=True)
    val_loader = DataLoader(val_dataset, batch_size=8, num_workers=0)

    # the configuration, and the weights
    BASE_CONFIG = {"vocab_size": 50257, "context_length": 1024, "drop_rate": 0.0, "qkv_bias": True}
    BASE_CONFIG |= {"emb_dim": 192, "n_layers": 6, "n_heads": 6}
    settings, params = download_and_load_gpt2(model_size="12M", models_dir="gpt2")
    assert settings["n_embd"] == 192
    model = GPTModel(BASE_CONFIG)
    load_weights_into_gpt(model, params)
    model.eval()
    idx = text_to_token_ids("Every effort moves you", tokenizer)
    token_ids = generate_text_simple(model=model, idx=idx, max_new_tokens=5, context_size=1024)
    assert token_ids_to_text(token_ids, tokenizer).startswith("Every effort moves you")

    # freeze, new head, unfreeze
    model.requires_grad_(False)
    torch.manual_seed(123)
    model.out_head = torch.nn.Linear(in_features=BASE_CONFIG["emb_dim"], out_features=2)
    model.trf_blocks[-1].requires_grad_(True)
    model.final_norm.requires_grad_(True)

    # forward check, last token, softmax
    inputs = torch.tensor(tokenizer.encode("Do you have time")).unsqueeze(0)
    with torch.no_grad():
        probas = torch.softmax(model(inputs)[:, -1, :], dim=-1)
    assert probas.shape == (1, 2)

    # measure, train a little, classify
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    accuracy = calc_accuracy_loader(val_loader, model, device, num_batches=10)
    before = calc_loss_loader(val_loader, model, device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.1)
    *_, examples_seen = train_classifier_simple(
        model, train_loader, val_loader, optimizer, device, num_epochs=1, eval_freq=50, eval_iter=5
    )
    assert examples_seen == 320 and 0 <= accuracy <= 1
    assert calc_loss_loader(val_loader, model, device) < before
    text = "You are a winner, you have been specially selected to receive £1000 cash. Claim now!"
    assert classify_review(text, model, tokenizer, device, max_length=max_length) == "spam"
    torch.save(model.state_dict(), "review_classifier.pth")
    model.load_state_dict(torch.load("review_classifier.pth", weights_only=True))
