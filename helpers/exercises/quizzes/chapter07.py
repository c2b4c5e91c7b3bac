"""Quiz of chapter 7: your own digit."""

from helpers.exercises.quizzes._question import Answer, Question

QUESTIONS = [
    Question(
        "The network is calibrated on the test digits. A user sends a picture, and "
        "the network says 7, 99 % sure. What do you know?",
        [
            Answer(
                "In 99 of 100 such cases it is a 7.",
                "Not quite. It is so for pictures like the test digits. Nothing was "
                "promised for what a user may send.",
            ),
            Answer(
                "Of the ten digits, 7 fits best, and clearly.",
                "Right. That is all that softmax says. It divides a certainty of 1 "
                "among ten digits, and does so for a house as well.",
                right=True,
            ),
            Answer(
                "There is a digit in the picture, or no class would get so much.",
                "No. The ten probabilities sum to 1 for every picture. There is no "
                'eleventh class for "none of these".',
            ),
        ],
    ),
]
