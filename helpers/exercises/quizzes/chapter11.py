"""Quiz of chapter 11: faster."""

from helpers.exercises.quizzes._question import Answer, Question

QUESTIONS = [
    Question(
        "You train in one process with batches of 64. Then you start the same program "
        "with `torchrun` in two processes, each again with batches of 64. What does "
        "it learn like?",
        [
            Answer(
                "Like one process with batches of 64, in half the time",
                "Not quite. Each process takes 64 digits, so a step takes 128. There "
                "are half as many steps, and the learning rate may have to follow.",
            ),
            Answer(
                "Like two networks that are averaged at the end",
                "No. The gradients are averaged in *every* step, so the copies stay "
                "the same all the time.",
            ),
            Answer(
                "Like one process with batches of 128",
                "Right. The averaged gradients of 64 and 64 are those of 128. Divide "
                "the batch size by the number of processes, or adapt the learning "
                "rate.",
                right=True,
            ),
        ],
    ),
]
