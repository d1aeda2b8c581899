"""What section 6.1 asks to predict."""

from workshop.exercises.prediction import Number, OneOf, Question

QUESTIONS = {
    "6.1 what the pretrained model answers": Question(
        "We ask the pretrained model: “Is the following message spam? Answer yes or no. Message: You "
        "won a free phone! Answer:”. How does what it writes begin?",
        OneOf("with yes", "with no", "with something else"),
        right="Yes: it does not answer.",
        wrong={
            "with yes": "That would be an answer. It has not learned to give any.",
            "with no": "Not even that: it has not learned to answer.",
        },
        then="It writes what usually *follows* such a text, because that is all it has learned: the "
        "bundled nano has read many e-mails and goes on as e-mails do. One prompt proves little, and "
        "larger pretrained models sometimes answer. But to answer reliably, a model is usually "
        "fine-tuned on instructions; and to sort reliably, on labels.",
    ),
    "6.1 outputs of a classifier": Question(
        "For each token that goes in, the pretrained model puts out 50,257 numbers, one for every "
        "token of its vocabulary. How many does our spam filter put out?",
        Number(),
        right="Yes: one for every class, ham and spam.",
        wrong={
            1: "One would do, as a probability of spam; but like the book we take one for every "
            "class.",
            50257: "Then it would still name words. It only has to choose between ham and spam.",
            "too low": "One for every class: ham and spam.",
            "too high": "One for every class: ham and spam.",
        },
    ),
    "6.1 the share that is trained": Question(
        "Of GPT-2 124M we will train one block of twelve, the last layer norm and the head. Which "
        "share of all parameters is that?",
        Number(within=1.5, unit="%"),
        right="Yes, about that.",
        wrong={
            8.33: "One of twelve would be so, if there were nothing but blocks. Almost a third of "
            "the parameters are in the embeddings, below the blocks.",
            "too low": "More: a block alone has seven million.",
            "too high": "Less: eleven blocks and the embeddings below them are not trained.",
        },
        then="The picture shows it, from the bottom, where the tokens go in, to the head at the top. "
        "Blue boxes with a dashed border and a snowflake ❄ are *frozen*: they stay as they are. "
        "Orange ones with a pencil ✎ are trained.",
    ),
}
