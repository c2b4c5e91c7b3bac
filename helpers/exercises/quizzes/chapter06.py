"""Quiz of chapter 6: evaluation."""

from helpers.exercises.quizzes._question import Answer, Question

QUESTIONS = [
    Question(
        "Which of these accuracies cannot come from counting 10,000 digits?",
        [
            Answer(
                "97.3 %",
                "No. 9,730 right answers make exactly this.",
            ),
            Answer(
                "97.05 %",
                "No. 9,705 right answers make exactly this. Two decimals are what "
                "10,000 digits can give.",
            ),
            Answer(
                "97.316 %",
                "Right. It would be 9,731.6 right answers. Somebody averaged the "
                "means of batches, or counted other digits.",
                right=True,
            ),
        ],
    ),
    Question(
        "Network A reads 90 % of 400 digits, network B 92 % of 400 others. Is B "
        "better?",
        [
            Answer(
                "Yes, by two points.",
                "No. That is what was measured, and chance is a part of it. Other "
                "digits would give other numbers.",
            ),
            Answer(
                "The difference is no larger than what chance makes.",
                "Right. Each accuracy has a standard error of about 1.5 points, and "
                "their difference one of about 2. A difference of one standard error "
                "is an everyday thing.",
                right=True,
            ),
            Answer(
                "Yes: 2 points are more than the standard error of 1.5.",
                "Not quite. That is the standard error of *one* accuracy. A "
                "difference has the luck of both, and its own error is about 1.4 "
                "times as large.",
            ),
        ],
    ),
    Question(
        "In the confusion matrix, a row is what a digit is, a column what the network "
        'says. It says "9". How do you find out how often that is right?',
        [
            Answer(
                "The cell on the diagonal, divided by the sum of its column",
                "Right. The column holds all digits for which it says 9, and the "
                "diagonal those among them that are one.",
                right=True,
            ),
            Answer(
                "The cell on the diagonal, divided by the sum of its row",
                "Not quite. The row holds all nines. This says how many of them are "
                "found, whatever else is taken for a 9.",
            ),
            Answer(
                "The cell on the diagonal, divided by the number of all digits",
                "No. That is the share of digits that are nines and recognized. It "
                "could hardly be more than a tenth.",
            ),
        ],
    ),
    Question(
        "You measure a network after `model.eval()`, but forget `torch.no_grad()`. "
        "What goes wrong?",
        [
            Answer(
                "The answers change from call to call.",
                "No. That is dropout, and `eval()` has switched it off. `no_grad()` "
                "changes no answer.",
            ),
            Answer(
                "The network learns from the test digits.",
                "No. Notes for gradients change no weight. It takes `backward()` and "
                "a step of an optimizer to learn.",
            ),
            Answer(
                "It takes more memory than it needs to.",
                "Right. The answers are the same. But autograd keeps what the layers "
                "put out, for a `backward()` that never comes.",
                right=True,
            ),
        ],
    ),
]
