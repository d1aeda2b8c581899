"""Pictures of the chapter's ideas, each drawn from the model and the messages in front of a learner.

Each function returns a `Drawing`: SVG, and in words all that it shows. The model under a plan is
drawn by `helpers.diagrams`, runs of the Lab by `helpers.lab.pictures`.
"""
