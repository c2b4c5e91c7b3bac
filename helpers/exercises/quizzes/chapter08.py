"""Quiz of chapter 8: checkpoints."""

from helpers.exercises.quizzes._question import Answer, Question

QUESTIONS = [
    Question(
        "A run with Adam goes on from a file that holds the weights only. What does "
        "the loss do?",
        [
            Answer(
                "It goes on as before: the weights are all that was learned.",
                "Not quite. It starts at the same height. But Adam had learned "
                "something too: how large the gradients of each weight usually are.",
            ),
            Answer(
                "It jumps up within a few steps, and needs time to come down.",
                "Right. To a new Adam every gradient looks as large as usual. So each "
                "weight moves by about the full learning rate, where it should hardly "
                "move.",
                right=True,
            ),
            Answer(
                "It starts again from where an untrained network stands.",
                "No. The weights are there, and with them the answers. What is "
                "missing is the optimizer's memory.",
            ),
        ],
    ),
    Question(
        "After each epoch you call `torch.save(state, path)`, always with the same "
        "path. The power fails during the fifth call. What do you have?",
        [
            Answer(
                "Half a file, and nothing else",
                "Right. The old file was emptied before the new one was written. "
                "Write under another name and rename, and the name always belongs to "
                "a whole file.",
                right=True,
            ),
            Answer(
                "The checkpoint of the fourth epoch",
                "No. It would be there if the new one had been written under another "
                "name. Under the same name, the old file is emptied first.",
            ),
            Answer(
                "The checkpoint of the fifth epoch: the operating system finishes "
                "writing.",
                "No. It does so if your *program* dies. If the power fails, the "
                "operating system is gone as well.",
            ),
        ],
    ),
    Question(
        "On an old drive, one bit of one weight in a checkpoint has flipped. What "
        "would notice it?",
        [
            Answer(
                "`load_state_dict`",
                "No. It compares names and shapes, and those are as they were. Any "
                "number is welcome to it.",
            ),
            Answer(
                "`weights_only=True`",
                "No. It watches that nothing but data is built from the file. A wrong "
                "number is data, too.",
            ),
            Answer(
                "A checksum, stored when the file was written",
                "Right. It depends on every bit. Compute it again before loading, and "
                "compare.",
                right=True,
            ),
        ],
    ),
    Question(
        "A run stopped after 40 of 75 batches. You set the generator of the order to "
        "its state *at the stop*, and train on 35 batches of the loader. What happens "
        "in this epoch?",
        [
            Answer(
                "The same as without the stop: the generator's state is restored.",
                "Not quite. The order was drawn at the *start* of the epoch. This "
                "state is the one for the next epoch's order.",
            ),
            Answer(
                "Some digits come twice, others never.",
                "Right. The loader draws a new order. Set the generator to its state "
                "at the start of the epoch, and pass over 40 batches.",
                right=True,
            ),
            Answer(
                "All 4,800 digits come once, but in another order.",
                "No. 40 batches come from one order and 35 from another. Nothing "
                "keeps the second from repeating what the first had.",
            ),
        ],
    ),
    Question(
        "Somebody sends you `great-network.pt`. You only want to see which layers it "
        "has, and will not run the network. Is `weights_only=False` safe for that?",
        [
            Answer(
                "Yes, as long as you never call the network.",
                "No. What the file asks for is called while it is *loaded*. Nobody "
                "has to use the result.",
            ),
            Answer(
                "Yes, because a `.pt` file holds tensors only.",
                "No. The ending of a name promises nothing. `torch.save` writes a "
                "pickle, and that can ask for any function.",
            ),
            Answer(
                "No.",
                "Right. A pickle is a list of instructions, and loading carries them "
                "out. With `weights_only=True` you see the layers all the same, and "
                "nothing else is called.",
                right=True,
            ),
        ],
    ),
]
