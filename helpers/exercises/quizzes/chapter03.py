"""Quiz of chapter 3: data."""

from helpers.exercises.quizzes._question import Answer, Question

QUESTIONS = [
    Question(
        "A network that you trained reads picture files well. Given NumPy arrays of "
        "`float32` from 0 to 255, through the same `ToTensor` and `Normalize`, it "
        "answers nonsense. Why?",
        [
            Answer(
                "`ToTensor` puts the axes of an array in another order.",
                "No. A gray array gets its channel axis in front, as a picture does. "
                "Only the numbers come out differently.",
            ),
            Answer(
                "`float32` is not exact enough for pixels.",
                "No. It holds every whole number from 0 to 255 exactly, and it is the "
                "type in which networks compute.",
            ),
            Answer(
                "`ToTensor` divides by 255 only if the input holds bytes.",
                "Right. From floats it takes the numbers as they are, up to 255 in "
                "place of 1. There is no error, so print the range of what you feed.",
                right=True,
            ),
        ],
    ),
    Question(
        "Digits come from a loader with `Normalize((0.1307,), (0.3081,))`, and "
        "`images.min()` is about −0.42. What does that tell you?",
        [
            Answer(
                "Some pixels are black.",
                "Right. Black is 0, and (0 − 0.1307) / 0.3081 is about −0.42. White "
                "becomes about 2.82.",
                right=True,
            ),
            Answer(
                "Something went wrong: pixels are never negative.",
                "No. In the file they never are. Normalized, everything darker than "
                "the mean is negative, and in MNIST that is most of each picture.",
            ),
            Answer(
                "This batch is darker than the average batch.",
                "No. The darkest pixel says nothing about the average. Nearly every "
                "batch has black paper in it, and the same minimum.",
            ),
        ],
    ),
    Question(
        "You go through this loader twice, today, and twice tomorrow in a fresh "
        "Python. Which orders do you see?",
        [
            Answer(
                "The same order all four times: the seed fixes it.",
                "Not quite. The seed fixes where the generator *starts*. The second "
                "epoch draws on from there, and gets another order.",
            ),
            Answer(
                "Two orders today, and the same two tomorrow.",
                "Right. Each epoch draws a new order, and tomorrow the generator "
                "starts from the same place. New orders, and all of it repeatable.",
                right=True,
            ),
            Answer(
                "Four orders, all of them different.",
                "No. That is what a loader does that has no seeded generator. Nobody "
                "can repeat what comes out of it.",
            ),
        ],
        code="generator = torch.Generator()\n"
        "generator.manual_seed(0)\n"
        "loader = DataLoader(\n"
        "    dataset,\n"
        "    shuffle=True,\n"
        "    generator=generator,\n"
        ")",
    ),
    Question(
        "You try 50 learning rates and keep the one with the best validation "
        "accuracy, 97.9 %. What do you tell others about digits that nobody has seen?",
        [
            Answer(
                "97.9 %, because the network never learned from these digits.",
                "Not quite. It did not, but *you* chose by them, and the best of 50 "
                "is always partly the luckiest.",
            ),
            Answer(
                "The accuracy on the training digits, because there are most of them.",
                "No. Those digits adjusted the parameters. A network that learned "
                "them by heart would look best of all.",
            ),
            Answer(
                "The accuracy on the test digits, measured once, now.",
                "Right. The test digits chose nothing and adjusted nothing. The data "
                "that chooses cannot also be the data that judges.",
                right=True,
            ),
        ],
    ),
    Question(
        "Your transform turns each digit by another random angle every time. "
        "Preparing it takes much longer than training. What helps?",
        [
            Answer(
                "Compute all digits once, and cut batches from that one tensor.",
                "No. It would be fast, but each digit would have the same angle in "
                "every epoch. A random transform has to run each time.",
            ),
            Answer(
                "A loader with workers, if the machine has cores to spare.",
                "Right. Workers prepare the next batches while the network trains on "
                "the last one. They pay where an example is much work.",
                right=True,
            ),
            Answer(
                "`pin_memory=True`",
                "No. It speeds up the way from memory to a GPU. The turning comes "
                "before that, and takes as long as ever.",
            ),
        ],
    ),
]
