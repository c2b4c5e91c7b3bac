"""Quiz of chapter 2: terminology."""

from helpers.exercises.quizzes._question import Answer, Question

QUESTIONS = [
    Question(
        "Batches of 64 give gradients that are too noisy for you. Which batch size "
        "halves the noise?",
        [
            Answer(
                "128",
                "No. The noise falls with the square root of the batch size. Twice "
                "the batch brings it down to about 70 %.",
            ),
            Answer(
                "256",
                "Right. Four times the batch, half the noise, because the noise falls "
                "with the square root. It costs four times the work for each step.",
                right=True,
            ),
            Answer(
                "4,096",
                "No. 64 times the batch divides the noise by 8, the square root of "
                "64. Half the noise is to be had for less.",
            ),
        ],
    ),
    Question(
        "A network reads 99 % of its training digits and 85 % of new ones. A friend "
        "advises to normalize the pixels. What is to be expected?",
        [
            Answer(
                "It learns faster, and the gap does not close.",
                "Right. Normalization lets all parameters feel a similar pull, so "
                "learning goes faster. Learning by heart is learning too, and goes "
                "faster with the rest.",
                right=True,
            ),
            Answer(
                "The gap closes, because normalization holds the network back.",
                "No. What holds it back is *regularization*, such as weight decay. "
                "The two words sound alike, and do different things.",
            ),
            Answer(
                "Nothing changes, because no information is lost.",
                "Not quite. No information is lost, but gradient descent goes another "
                "way: a larger learning rate becomes safe.",
            ),
        ],
    ),
    Question(
        "The kernel below lies on a place where all nine pixels are 7. What is the "
        "output there?",
        [
            Answer(
                "63",
                "No. That would be nine ones times 7. This kernel subtracts what lies "
                "to the left.",
            ),
            Answer(
                "21",
                "Not quite. The right column gives 3 · 7 = 21. The left column takes "
                "as much away.",
            ),
            Answer(
                "0",
                "Right. The right column gives 21, the left one takes 21 away. Where "
                "the brightness does not change, there is no edge to find.",
                right=True,
            ),
        ],
        code="-1  0  1\n-1  0  1\n-1  0  1",
    ),
    Question(
        "You put three linear layers in a row, 784 to 200 to 100 to 10, with nothing "
        "in between. What can they compute that one layer from 784 to 10 cannot?",
        [
            Answer(
                "More complicated patterns: they have many more weights.",
                "No. More weights, but their three matrices multiply into one of 784 "
                "by 10. All those weights are worth no more than its few.",
            ),
            Answer(
                "Nothing.",
                "Right. The three matrices multiply into one, and the biases merge as "
                "well. It takes an activation in between to make depth worth "
                "something.",
                right=True,
            ),
            Answer(
                "The same, but with three biases in place of one.",
                "Not quite. The biases pass through the later matrices and add up, "
                "and what comes out is one bias for each output.",
            ),
        ],
    ),
    Question(
        "Network A gives the right class a probability of 0.1, network B of 0.001. "
        "How do their cross-entropies compare?",
        [
            Answer(
                "They are the same: both networks are wrong.",
                "No. That is how the *accuracy* counts. The loss asks how much of its "
                "probability a network gave to the right class.",
            ),
            Answer(
                "B's is 100 times as large.",
                "No. Its probability is a hundredth, but the loss takes the "
                "logarithm: about 2.3 for A and 6.9 for B.",
            ),
            Answer(
                "B's is 3 times as large.",
                "Right. The loss is minus the logarithm: about 2.3 for A and 6.9 for "
                "B. Each further factor of ten costs another 2.3, without a limit.",
                right=True,
            ),
        ],
    ),
]
