"""Quiz of chapter 4: the network."""

from helpers.exercises.quizzes._question import Answer, Question

QUESTIONS = [
    Question(
        "`images` has the shape (64, 1, 28, 28). What is the shape of `layer(images)`?",
        [
            Answer(
                "(64, 6, 13, 13)",
                "Right. A kernel of 3 can move 25 places. In steps of 2 that is 12 "
                "steps, rounded down, and the first place counts too.",
                right=True,
            ),
            Answer(
                "(64, 6, 14, 14)",
                "Not quite. Half of 28 is 14, but the kernel has to fit in: it covers "
                "3 pixels, and no padding gives them back.",
            ),
            Answer(
                "(64, 6, 12, 12)",
                "Not quite. There are 12 steps, and so 13 places: the one where the "
                "kernel starts counts too.",
            ),
            Answer(
                "(64, 1, 13, 13)",
                "Not quite. The sides are right. But each of the six filters makes a "
                "channel of its own.",
            ),
        ],
        code="layer = nn.Conv2d(\n    1, 6, kernel_size=3, stride=2\n)",
    ),
    Question(
        "You want to feed DropoutNet with images of 56 by 56 pixels in place of 28 by "
        "28. Which layer needs another number of weights?",
        [
            Answer(
                "`conv1` and `conv2`, because there are more places to visit",
                "No. The same filter serves every place. The size of the image "
                "appears nowhere in the number of its weights.",
            ),
            Answer(
                "`fc2`, because it is the last one",
                "No. It gets 50 numbers from `fc1` as before, and still answers with "
                "ten.",
            ),
            Answer(
                "`fc1`, because more numbers are left after flattening",
                "Right. It has a weight for each number that it receives. From 56 "
                "pixels a side, 11 are left after both poolings, so it gets 20 · 11 · "
                "11 of them in place of 320.",
                right=True,
            ),
        ],
    ),
    Question(
        "You have called `model.eval()`, and still the network gives other logits for "
        "the same digit each time. The line below is in its `forward`. What is the "
        "reason?",
        [
            Answer(
                "`eval()` needs `torch.no_grad()` to work.",
                "No. `no_grad()` is about gradients, and changes no answer. The two "
                "have nothing to do with one another.",
            ),
            Answer(
                "`F.dropout` does not know in which mode the model is.",
                "Right. It is a function and drops unless told otherwise. Write "
                "`training=self.training`, or take the layer `nn.Dropout`, which "
                "`eval()` reaches.",
                right=True,
            ),
            Answer(
                "`eval()` has to be called for each layer.",
                "No. It reaches every layer that is registered in the model. But this "
                "line is no layer, it is a function.",
            ),
        ],
        code="x = F.dropout(x, p=0.5)",
    ),
    Question(
        "A layer `nn.Dropout(p=0.75)` in training mode is given a long row of ones. "
        "Which numbers come out?",
        [
            Answer(
                "0 and 1",
                "Not quite. About three quarters are zero. But the survivors are "
                "scaled up, or the next layer would receive only a quarter of the "
                "sum.",
            ),
            Answer(
                "0 and 2",
                "Not quite. This is what `p=0.5` does. Here fewer numbers survive, so "
                "each has to be larger.",
            ),
            Answer(
                "0 and 4",
                "Right. One in four survives and is divided by 1 − p, which is 0.25. "
                "So the sum stays the same on average.",
                right=True,
            ),
            Answer(
                "1 only",
                "No. That is evaluation mode. In training mode about three quarters "
                "of the ones become zero.",
            ),
        ],
    ),
    Question(
        "You multiply all ten logits of a digit by 2. They were not all equal. What "
        "happens to the probabilities?",
        [
            Answer(
                "Nothing: softmax divides by the sum.",
                "No. Nothing changes if you *add* a number to all logits. If you "
                "multiply, their differences double, and the differences are what "
                "counts.",
            ),
            Answer(
                "The largest one grows, and the answer stays the same.",
                "Right. The order of the logits stays, but their differences double. "
                "The network seems surer, without knowing more.",
                right=True,
            ),
            Answer(
                "All of them double.",
                "No. Ten probabilities sum to 1, whatever the logits are. If one "
                "grows, others shrink.",
            ),
        ],
    ),
]
