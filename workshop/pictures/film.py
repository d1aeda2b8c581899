"""One frame of a training film: the validation messages as dots, and the losses so far.

Color and shape tell ham from spam; a ring marks a mistake. All frames of a film have one scale.
"""

import torch

from workshop.film import Film
from workshop.pictures.charts import Chart, chart, course_style, new_figure
from workshop.pictures.svg import BLUE, ORANGE

FENCE = 3  # quartile ranges beyond the quartiles; dots further out would push all others together
CORRECT = 0.9  # the boundary is drawn where it is right for at least this fraction of the messages


@course_style
def draw_frame(film: Film, number: int) -> Chart:
    """Return a frame of a film, from 0: the messages before the training, or after that many epochs.

    A message further out than FENCE lies at the edge. The boundary of p = 0.5 is drawn where at
    least CORRECT of the messages lie on the side that the model predicts; in the plane of two
    directions it can't be true to all. Raises ValueError where all vectors are alike.
    """
    labels, mistakes = film.labels, film.mistakes[number]
    places = torch.cat(film.places)
    lower, upper = places.quantile(torch.tensor([0.25, 0.75]), dim=0)
    fence = FENCE * (upper - lower)
    low, high = places.clip(lower - fence, upper + fence).aminmax(dim=0)
    x, y = film.places[number].clip(low, high).T.numpy()
    room = 0.05 * (high - low)
    xlim, ylim = torch.stack((low - room, high + room), dim=1).tolist()
    first, second = (100 * film.directions.shares).round().int().tolist()

    figure, (dots, curves) = new_figure(400, 1, 2, width_ratios=(2, 1))
    for label, name, marker, colour in ((0, "ham", "o", BLUE), (1, "spam", "s", ORANGE)):
        own = labels == label
        dots.scatter(x[own], y[own], 25, colour, marker=marker, edgecolors="white", label=name)
    x, y = x[mistakes], y[mistakes]
    dots.scatter(x, y, 100, facecolors="none", edgecolors="black", label="mistake")
    fits = film.num_on_their_side[number]
    if fits >= CORRECT * len(labels):
        a, b, c = film.boundaries[number]
        x, y = -c * a / (a * a + b * b), -c * b / (a * a + b * b)  # nearest to the origin
        dots.axline((x, y), (x - b, y + a), color="black", linestyle="--", label="p = 0.5")
    dots.set(
        title=f"{film.names[number]}: {(~mistakes).sum()} of {len(labels)} right",
        xlabel=f"main direction, {first} % of the variance",
        ylabel=f"second direction, {second} %",
        xlim=xlim,
        ylim=ylim,
        xticks=[],
        yticks=[],
    )

    train, val = film.train_losses[:number], film.val_losses[: number + 1]
    curves.plot(range(1, number + 1), train, "o-", color=BLUE, mfc="white", label="training loss")
    curves.plot(range(number + 1), val, "o-", color=ORANGE, label="validation loss")
    highest = 1.05 * max(film.val_losses + film.train_losses)
    curves.set(xlabel="epoch", ylabel="loss", xlim=(-0.2, film.epochs + 0.2), ylim=(0, highest))
    curves.locator_params(axis="x", integer=True)
    figure.legend(loc="outside lower center", ncols=3)

    wrong = torch.bincount(labels[mistakes], minlength=2).tolist()
    return chart(
        figure,
        f"ham predicted as spam: {wrong[0]}, spam predicted as ham: {wrong[1]}; validation loss "
        f"{val[-1]:.2f}; the two main directions carry {first} and {second} % of the variance; the "
        f"line of p = 0.5 has {fits} of {len(labels)} messages on the side that the model predicts",
    )
