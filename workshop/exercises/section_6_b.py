"""What section 6.B asks to predict."""

from workshop.exercises.prediction import OneOf, Question

QUESTIONS = {
    "6.B the head alone": Question(
        "Only the head learns, 386 of 12.5 million parameters, and the row's last position "
        "classifies, as in the book. Half of the messages are spam, so guessing gets 0.5. Which "
        "validation accuracy?",
        OneOf("0.6", "0.7", "0.8", "0.9"),
        right="Yes: little more than guessing.",
        wrong={
            "0.7": "Less: at the padded end there is little to learn from.",
            "0.8": "Much less: the head can only weigh what the frozen blocks bring to this place.",
            "0.9": "Much less: nothing that learns here could look at the message.",
        },
        then="Behind the padding a frozen model has forgotten the message.",
    ),
    "6.B before the padding": Question(
        "The same 386 parameters, but the last token *before the padding* classifies. Better, "
        "worse, or can't 100 messages tell?",
        OneOf("better", "worse", "can't tell"),
        right="Yes, and by far.",
        wrong={
            "worse": "At this token the whole message has just been read, and none of it forgotten.",
            "can't tell": "The difference is so large that even 100 messages can tell.",
        },
        then="Nothing else was changed, and no more was trained.",
    ),
    "6.B the book's choice": Question(
        "The book's choice trains a thousand times as many parameters, at the row's *last* "
        "position. Is it better than the head alone before the padding?",
        OneOf("better", "worse", "can't tell"),
        right="Yes: the intervals of the two overlap.",
        wrong={
            "better": "No: its block learns to look back past the padding, and gets no further.",
            "worse": "Not so that one could say so: the intervals of the two overlap.",
        },
        then="*Where* the answer is read mattered more than *how much* is trained. “No worse” is "
        "all that 100 messages can say of the head.",
    ),
}
