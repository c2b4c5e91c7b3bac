"""Quiz of chapter 10: the GPU."""

from helpers.exercises.quizzes._question import Answer, Question

QUESTIONS = [
    Question(
        "On a GPU you read the clock, compute `a @ a`, and read the clock again. The "
        "result is wonderfully small. What did you measure?",
        [
            Answer(
                "How fast the GPU multiplies",
                "No. The call returns before the GPU is done, often before it begins. "
                "Wait for it before you read the clock: synchronize.",
            ),
            Answer(
                "How long it takes to write down an order",
                "Right. The order goes into a queue, and your program goes on at "
                "once. Synchronize at the start and at the end to time the work "
                "itself.",
                right=True,
            ),
            Answer(
                "More than a usual call takes: the first one has to warm up",
                "Not quite. The first call is usually the slowest. But this time is "
                "too short, and not too long.",
            ),
        ],
    ),
    Question(
        "A training step takes 2 ms, plus 0.1 ms for each picture. A GPU computes "
        "pictures ten times as fast. How long does a step with 4 pictures take there?",
        [
            Answer(
                "0.24 ms",
                "No. That divides everything by ten. But the 2 ms are Python and "
                "PyTorch starting operations, and they stay on the processor.",
            ),
            Answer(
                "2.04 ms",
                "Right. 0.4 ms for the pictures become 0.04 ms, and the 2 ms stay. "
                "With 400 pictures it would be 6 ms in place of 42: enlarge the "
                "batch.",
                right=True,
            ),
            Answer(
                "2.4 ms",
                "Not quite. You may feel no difference, but the part of the pictures "
                "does shrink, from 0.4 ms to 0.04.",
            ),
        ],
    ),
    Question(
        "A network keeps its channels' means in the line below, in `__init__`. You "
        "call `model.to(device)` for a GPU, and `images.to(device)`. What happens in "
        "`forward`, at `images - self.mean`?",
        [
            Answer(
                "It stops: two devices in one computation.",
                "Right. A plain attribute stays behind, because the model does not "
                "know about it. `register_buffer` would have made it move along.",
                right=True,
            ),
            Answer(
                "It works: the means have moved with the model.",
                "No. Parameters and buffers move. A plain attribute does not, for the "
                "model does not know about it.",
            ),
            Answer(
                "It works, but the means are copied to the GPU in every step.",
                "No. PyTorch does not move such a tensor on its own. It says that two "
                "devices meet, and stops.",
            ),
        ],
        code="self.mean = torch.full((3, 1, 1), 0.5)",
    ),
    Question(
        "A weight of 1 is kept as `bfloat16`. A hundred steps add 0.001 each. What is "
        "it then?",
        [
            Answer(
                "1.1",
                "No. That is what `float32` gives, nearly. In `bfloat16` the next "
                "number after 1 is about 1.008, and each small step is lost.",
            ),
            Answer(
                "About 1.008",
                "Not quite. That is the next number after 1. But each single step is "
                "rounded back to 1, so it never gets there.",
            ),
            Answer(
                "1",
                "Right. The next number after 1 is about 1.008, so each step of 0.001 "
                "is rounded away. Mixed precision keeps the weights in `float32`.",
                right=True,
            ),
        ],
    ),
]
