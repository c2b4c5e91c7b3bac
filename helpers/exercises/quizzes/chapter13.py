"""Quiz of chapter 13: five tutorials."""

from helpers.exercises.quizzes._question import Answer, Question

QUESTIONS = [
    Question(
        "A program prints its accuracy with `%d %%`, and the output is 55 %. What can "
        "it have measured?",
        [
            Answer(
                "54.6 %",
                "Not quite. That would round to 55. But `%d` cuts the decimals off, "
                "and 54 would be printed.",
            ),
            Answer(
                "55.9 %",
                "Right. `%d` cuts the decimals off. So 55 % may stand for anything "
                "from 55 to nearly 56.",
                right=True,
            ),
            Answer(
                "Exactly 55 %, and nothing else",
                "No. Between the count and the text there is a format, and this one "
                "drops the decimals.",
            ),
        ],
    ),
    Question(
        "You run a recipe with three seeds and get 97.9 to 98.2 %. A friend runs the "
        "same recipe once and gets 97.8 %. What does that say?",
        [
            Answer(
                "Very little.",
                "Right. Of four runs of one recipe, each is as likely as the others "
                "to be the lowest or the highest. So a fourth falls outside the range "
                "of three half of the time.",
                right=True,
            ),
            Answer(
                "Your friend has made a mistake.",
                "No. Half of the time an honest fourth run falls outside the range of "
                "three.",
            ),
            Answer(
                "Your friend's machine computes less exactly.",
                "No. Rounding differs from machine to machine, and amounts to another "
                "seed: other weights, and the same quality.",
            ),
        ],
    ),
    Question(
        "A list of ten classes gives 100 % for four of them. Each class was counted "
        "on 79 digits, and all classes together have 98.86 %. What do you make of the "
        "four?",
        [
            Answer(
                "The network has mastered these four digits.",
                "No. Count all digits of those classes, and mistakes turn up. "
                "Seventy-nine are too few to find them.",
            ),
            Answer(
                "Someone has miscounted: no class reaches 100 %.",
                "No. A class of 79 digits may well be free of mistakes. With 1,000 "
                "digits it would be a rare event.",
            ),
            Answer(
                "It is what chance gives.",
                "Right. 0.9886 to the power of 79 is about 0.4. So four of ten "
                "classes are expected without a mistake, whichever they are.",
                right=True,
            ),
        ],
    ),
    Question(
        "Tutorial 004 has a softmax too many. Taken out, its accuracy hardly changes "
        "in the end. Is such a softmax harmless?",
        [
            Answer(
                "Yes: it was measured, and costs next to nothing.",
                "Not quite. It was measured with Adam, which makes up for the small "
                "gradients. With SGD the same mistake costs many times as much.",
            ),
            Answer(
                "No: Adam hides what it costs, and the loss has lost its meaning.",
                "Right. Adam measures each gradient by its own usual size, and steps "
                "on as before. And the loss says how many digits are wrong, no longer "
                "how wrong they are.",
                right=True,
            ),
            Answer(
                "Yes: softmax of softmax is softmax again.",
                "No. That is true of `log_softmax`, which finds a sum of 1 and "
                "changes nothing. A second softmax makes the probabilities nearly "
                "even.",
            ),
        ],
    ),
    Question(
        "Three people report on the same network for digits. Whose number do you "
        "trust most?",
        [
            Answer(
                "98.6 % on the test digits, the best of 20 seeds",
                "No. The test digits have chosen the seed, and the best of twenty is "
                "partly the luckiest. What the other nineteen gave would tell more.",
            ),
            Answer(
                "99.813 % after ten epochs",
                "No. Of which digits? No count out of 10,000 gives three decimals. "
                "This looks like the 60,000 that the network was trained on.",
            ),
            Answer(
                "98.0 %, median of five seeds, 97.8 to 98.2 %, all test digits",
                "Right. It is the lowest, and it says what was counted, how often, "
                "and how far the runs lie apart. Nothing was chosen by it.",
                right=True,
            ),
        ],
    ),
]
