"""The exercises in code, by section: what each learner's function is tried with.

Each section's file has EXERCISES: the name of an exercise, which begins with its section, and its
stub, its trial, and the course's function that the page uses until the learner's one is right.
"""

from workshop.exercises.trials import (
    section_6_2,
    section_6_3,
    section_6_4,
    section_6_5,
    section_6_6,
    section_6_7,
    section_6_8,
    section_6_a,
    section_6_d,
)

EXERCISES = (
    section_6_2.EXERCISES
    | section_6_3.EXERCISES
    | section_6_4.EXERCISES
    | section_6_5.EXERCISES
    | section_6_6.EXERCISES
    | section_6_7.EXERCISES
    | section_6_8.EXERCISES
    | section_6_a.EXERCISES
    | section_6_d.EXERCISES
)
