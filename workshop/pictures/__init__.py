"""What the notebooks and widgets draw, from the model and the messages in front of the learner."""
