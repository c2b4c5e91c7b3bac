"""Quiz of chapter 1: tensors."""

from helpers.exercises.quizzes._question import Answer, Question

QUESTIONS = [
    Question(
        "`rows` has the shape (12, 784), one digit a row. What does this do?",
        [
            Answer(
                "It subtracts from each digit its own mean.",
                "No. That is what was meant. But the means have the shape (12,), and "
                "aligned at the right, 12 stands under 784. `keepdim=True` makes them "
                "(12, 1), and then it works.",
            ),
            Answer(
                "It subtracts from each pixel its mean over the 12 digits.",
                "No. That would be `rows.mean(dim=0)`: `dim` names the axis that "
                "disappears. Those 784 means would fit.",
            ),
            Answer(
                "It stops with an error.",
                "Right. `dim=1` disappears, and the means have the shape (12,). "
                "Aligned at the right, 12 stands under 784, and neither of them is 1.",
                right=True,
            ),
        ],
        code="rows - rows.mean(dim=1)",
    ),
    Question(
        "You make these four from the table `x`, and then call `x.zero_()`. Which one "
        "keeps its numbers?",
        [
            Answer(
                "`x[1:]`",
                "No. A slice is a view. It reads the memory of `x`, and that now "
                "holds zeros.",
            ),
            Answer(
                "`x.T`",
                "No. `.T` changes the steps through memory, not the memory. It is a "
                "view, and now a table of zeros.",
            ),
            Answer(
                "`x.flatten()`",
                "Not quite. `flatten` copies only if it has to. A table that was made "
                "row by row lies in memory in order, so it hands out a view.",
            ),
            Answer(
                "`x[x > 0]`",
                "Right. Numbers picked by `True` and `False` lie here and there in "
                "memory, and no steps of equal length lead through them. So they are "
                "copied.",
                right=True,
            ),
        ],
    ),
    Question(
        "Two photos `a` and `b`, both `uint8`, are mixed pixel by pixel. At some "
        "place one has the value 200, the other 100. What is the mixture there?",
        [
            Answer(
                "22",
                "Right. The sum is still `uint8`: 300 does not fit, and starts again "
                "at 0 after 255. Half of 44 is 22, and nothing warns you. Turn pixels "
                "into floats first.",
                right=True,
            ),
            Answer(
                "150",
                "No. The division does make decimal numbers, but too late: the sum of "
                "300 had no room in a `uint8`.",
            ),
            Answer(
                "There is none: 300 does not fit, so there is an error.",
                "No. 300 does not fit, and still there is no error. That is what "
                "makes this mistake hard to find.",
            ),
        ],
        code="(a + b) / 2",
    ),
    Question(
        "`scores` has the shape (10000, 10): ten scores for each of 10,000 digits. "
        "What is `scores.argmax(dim=0)`?",
        [
            Answer(
                "10,000 answers, one for each digit",
                "No. For those the class axis has to disappear, and that is `dim=1`.",
            ),
            Answer(
                "10 numbers: for each class, which digit has the highest score",
                "Right. Axis 0, the digits, disappears. It is a fair question to ask, "
                "but not the one that a reader of digits answers.",
                right=True,
            ),
            Answer(
                "10 numbers: for each class, its highest score",
                "Not quite. There are ten, one for each class. But `argmax` says "
                "*where* the highest score is, and not how high.",
            ),
        ],
    ),
    Question(
        "While the line is fitted, `weight.grad` is −30 and `lr` is 0.01. What does "
        "step 5, which adjusts, do to `weight`?",
        [
            Answer(
                "It makes it smaller by 0.3.",
                "No. That would be a step *along* the gradient, uphill. The gradient "
                "of −30 says that the loss falls if the weight grows.",
            ),
            Answer(
                "It makes it larger by 0.3.",
                "Right. The step goes against the gradient: `weight -= 0.01 * -30` "
                "adds 0.3. A negative slope says that the loss falls if the weight "
                "grows.",
                right=True,
            ),
            Answer(
                "It makes it larger by 30.",
                "Not quite. The direction is right. But `lr` says how little of the "
                "gradient to go, and it is a hundredth here.",
            ),
        ],
    ),
]
