"""Quiz of chapter 5: training."""

from helpers.exercises.quizzes._question import Answer, Question

QUESTIONS = [
    Question(
        "You make a network for 100 classes. Near which number should its loss be "
        "before training?",
        [
            Answer(
                "0.01",
                "Not quite. That is the probability that it gives to the right class. "
                "The loss is minus the logarithm of it.",
            ),
            Answer(
                "2.3",
                "Not quite. That is ln 10, the loss of not knowing which of *ten* "
                "classes it is. Among a hundred there is more not to know.",
            ),
            Answer(
                "4.6",
                "Right. A fresh network gives each class about 1/100, and minus the "
                "logarithm of that is ln 100, about 4.6. If it starts far from there, "
                "look for a mistake.",
                right=True,
            ),
        ],
    ),
    Question(
        "A program calls `optimizer.zero_grad()` in the first line of the loop, "
        "before it predicts. What does that change?",
        [
            Answer(
                "Nothing.",
                "Right. The old gradients have to be gone when `backward()` adds the "
                "new ones. Anywhere is fine but between `backward()` and `step()`.",
                right=True,
            ),
            Answer(
                "The network stops learning: its gradients are gone before the step.",
                "No. They come later, from `backward()`. The network would stop "
                "learning if `zero_grad()` stood between `backward()` and `step()`.",
            ),
            Answer(
                "Each step follows the gradients of the batch before.",
                "No. Those are exactly what is forgotten. The step follows what "
                "`backward()` computes for this batch.",
            ),
        ],
    ),
    Question(
        "After an epoch, a network with dropout has 93 % on the training digits, as "
        "the loop counts them, and 97 % on the validation digits. What do you make of "
        "it?",
        [
            Answer(
                "It is overfitting.",
                "No. A network that learns by heart does *better* on the digits it "
                "trained on.",
            ),
            Answer(
                "The two are measured differently.",
                "Right. The loop counts with dropout on, and over the whole epoch, "
                "also its start, when the network knew less. Measure the training "
                "digits as you measure the others, and the two come close.",
                right=True,
            ),
            Answer(
                "Training digits must have got into the validation set.",
                "No. That would be worth a check if validation were too good to be "
                "true. Here dropout and the mean over the epoch explain it.",
            ),
        ],
    ),
    Question(
        "SGD with a momentum of 0.9 learns well at a learning rate of 0.01. You take "
        "the momentum away. Which learning rate keeps about the same pace?",
        [
            Answer(
                "0.001",
                "No. Without momentum the steps are already about ten times shorter. "
                "This makes them shorter still.",
            ),
            Answer(
                "0.01",
                "No. A learning rate means nothing without its optimizer. At this "
                "one, plain SGD was far behind after an epoch.",
            ),
            Answer(
                "0.1",
                "Right. The velocity grows towards the gradient divided by 1 − 0.9, "
                "ten times the gradient. Without it, the rate has to make up for "
                "that.",
                right=True,
            ),
        ],
    ),
    Question(
        "What is wrong with the mean loss that this function returns? Its batches "
        "hold 64 digits, and `seen` counts digits.",
        [
            Answer(
                "It is about 64 times too small.",
                "Right. `loss_fn` has divided by the digits of the batch already, and "
                "`seen` divides once more. Multiply by `len(labels)` before you add.",
                right=True,
            ),
            Answer(
                "Nothing: it divides once, at the end.",
                "Not quite. One division is the plan. But `loss_fn` returns the "
                "*mean* of a batch, and that is a division too.",
            ),
            Answer(
                "It keeps the graphs of all batches in memory.",
                "No. `.item()` hands over a bare number, and lets the graph go. That "
                "line is sound, but it adds up the wrong thing.",
            ),
        ],
        code="batch_loss = loss_fn(logits, labels)\n"
        "total_loss += batch_loss.item()\n"
        "seen += len(labels)\n"
        "...\n"
        "return total_loss / seen",
    ),
]
