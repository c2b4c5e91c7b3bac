"""Quiz of chapter 12: mistakes."""

from helpers.exercises.quizzes._question import Answer, Question

QUESTIONS = [
    Question(
        "A network for ten classes reads 97 % of the digits, but its loss stays at "
        "1.49. Where do you look?",
        [
            Answer(
                "At the learning rate: it must be too low.",
                "No. With so low a rate the accuracy would be low too. Here the two "
                "do not agree.",
            ),
            Answer(
                "At the number of epochs: the loss will come down.",
                "No. There is a floor under it, at 1.461, and no number of epochs "
                "gets below that.",
            ),
            Answer(
                "At the end of the network: there may be a softmax.",
                "Right. The loss applies softmax itself, so there would be two. Even "
                "a perfect network then pays ln(1 + 9/e), which is 1.461.",
                right=True,
            ),
        ],
    ),
    Question(
        "You resume a run. The validation accuracy is 94.20 % before one more epoch, "
        "and 94.20 % after it. What is likely?",
        [
            Answer(
                "The optimizer holds the parameters of another network.",
                "Right. Learning is never so still. Ask the optimizer: "
                "`optimizer.param_groups` holds the very tensors that it adjusts.",
                right=True,
            ),
            Answer(
                "The network has learned all that it can.",
                "No. Even then a network moves a little with every batch. An accuracy "
                "that is the same to the last digit has another cause.",
            ),
            Answer(
                "Dropout was active while you measured.",
                "No. Then you would read another number each time, and not the same "
                "one.",
            ),
        ],
    ),
    Question(
        "This prints an accuracy of 640 %. `predictions` has the shape (64,). What is "
        "wrong?",
        [
            Answer(
                "The labels count from 1 in place of 0.",
                "No. That would make nearly all predictions wrong, and the accuracy "
                "low. It could not lift it above 100 %.",
            ),
            Answer(
                "The labels are a column of shape (64, 1).",
                "Right. Broadcasting compares each prediction with each label, 64 "
                "times 64 of them. `labels.view(-1)` makes a row of the column.",
                right=True,
            ),
            Answer(
                "The loader returns some digits twice.",
                "No. That would count some right answers twice, and some digits, too. "
                "The share stays below 100 %.",
            ),
        ],
        code='hits = (predictions == labels).sum()\nprint(f"{hits / len(labels):.0%}")',
    ),
    Question(
        "On the validation digits the mean loss is 0.2, and the accuracy 10 %. What "
        "is the likeliest cause?",
        [
            Answer(
                "The network has never been trained.",
                "No. Its loss would be near 2.303. This loss belongs to a network "
                "that reads most digits.",
            ),
            Answer(
                "The network is overfitting.",
                "No. Both numbers are from the same validation digits, and they "
                "contradict each other. Overfitting would spoil both.",
            ),
            Answer(
                "Predictions and labels come from two passes over a shuffled loader.",
                "Right. A loss of 0.2 says that the network is fine. Each prediction "
                "was compared with the label of another digit: take both from one "
                "pass.",
                right=True,
            ),
        ],
    ),
    Question(
        "`images` has the shape (64, 1, 28, 28). Which line gives the first linear "
        "layer one digit a row?",
        [
            Answer(
                "`images.view(-1, 392)`",
                "No. Each digit is cut into two rows, 128 in all. The loss will "
                "complain that there are twice as many answers as labels.",
            ),
            Answer(
                "`images.reshape(784, -1).T`",
                "No. The shape is right, and the pixels are not: each row is made of "
                "pixels of all 64 digits. No error will tell you.",
            ),
            Answer(
                "`images.flatten(start_dim=1)`",
                "Right. The batch axis stays, and the other three become one. It "
                "cannot mix digits.",
                right=True,
            ),
            Answer(
                "`images.flatten()`",
                "No. Without `start_dim=1` the batch axis melts too, and all 64 "
                "digits become one row.",
            ),
        ],
    ),
]
