"""Quiz of chapter 9: photographs."""

from helpers.exercises.quizzes._question import Answer, Question

QUESTIONS = [
    Question(
        "How many parameters does this layer have?",
        [
            Answer(
                "156",
                "Not quite. That is 6 · 5 · 5 + 6, for a gray picture. A filter "
                "reaches through all three channels, with numbers of its own for "
                "each.",
            ),
            Answer(
                "456",
                "Right. Six filters of 3 · 5 · 5 numbers make 450, and each has one "
                "bias.",
                right=True,
            ),
            Answer(
                "468",
                "Not quite. The weights are right, 450. But a filter has one bias, "
                "and not one for each channel that it reads.",
            ),
        ],
        code="nn.Conv2d(3, 6, kernel_size=5)",
    ),
    Question(
        "You go from batches of 4 to batches of 64, keep the learning rate, and train "
        "for as many epochs. What happens?",
        [
            Answer(
                "Each epoch is faster, but the network gets less far.",
                "Right. It takes a sixteenth of the steps, each about as long as "
                "before. The gradient is less noisy, so you may multiply the learning "
                "rate by 16, too.",
                right=True,
            ),
            Answer(
                "Each epoch is faster, and the network gets as far as before.",
                "Not quite. It is faster. But it takes a sixteenth of the steps, and "
                "nothing makes them longer.",
            ),
            Answer(
                "The training diverges, because the batches are too large.",
                "No. Steps that are too long make a training diverge. These are as "
                "long as before, and point in a steadier direction.",
            ),
        ],
    ),
    Question(
        "A network with batch normalization gives the same photograph other logits, "
        "depending on which photographs come with it. What was forgotten?",
        [
            Answer(
                "`torch.no_grad()`",
                "No. It saves memory and time, and changes no answer.",
            ),
            Answer(
                "A seed",
                "No. Nothing is random here: the same company gives the same logits. "
                "What changes them is the mean of the batch.",
            ),
            Answer(
                "`model.eval()`",
                "Right. In training mode each channel is normalized by the batch that "
                "is there. In evaluation mode it uses the running figures, and "
                "strangers no longer matter.",
                right=True,
            ),
        ],
    ),
    Question(
        "In a stack of 20 layers, each has a slope of 0.1. In a plain stack, a "
        "gradient arrives at the bottom as 0.1 to the power of 20. What about layers "
        "of the form `x + layer(x)`?",
        [
            Answer(
                "The same: the layers still have their slope of 0.1.",
                "No. They have it, but the way around them has the slope 1, and the "
                "two add up.",
            ),
            Answer(
                "It arrives, as 1.1 to the power of 20: about 7 times as large.",
                "Right. The slope of x + f(x) is 1 + 0.1. However small the slope of "
                "f is, the 1 lets the gradient through.",
                right=True,
            ),
            Answer(
                "It arrives unchanged: it passes along the shortcut only.",
                "Not quite. It takes both ways, and they add up. Unchanged it would "
                "be if the layers had a slope of 0, and then they could not learn.",
            ),
        ],
    ),
    Question(
        "In a race of three epochs, augmentation brings no better validation "
        "accuracy. What do you conclude?",
        [
            Answer(
                "It does not help this network, so leave it out.",
                "No. In the long race it closed a gap that was not there yet after "
                "three epochs. A short race says what helps in a short race.",
            ),
            Answer(
                "Mirrored photographs have wrong labels.",
                "No. A mirrored cat is a cat, and a mirrored truck a truck. With "
                "digits it would be so.",
            ),
            Answer(
                "The race may be too short to show what it is good for.",
                "Right. It works against learning by heart, and after three epochs "
                "there is little to work against. A longer race has to say.",
                right=True,
            ),
        ],
    ),
]
