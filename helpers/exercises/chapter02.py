"""Chapter 2: the words of the field."""

import math
import random

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.exercises._answers import (
    as_tensor,
    attempted,
    first_difference,
    mapping,
    number,
    returned,
    same,
)
from helpers.exercises._digits import some_digits
from helpers.exercises._registry import Wrong, exercise

# Exercise 1 ---------------------------------------------------------------------


@exercise(
    "02.1",
    hints=[
        "Each step multiplies the error of the slope by 1 - 2 · lr · m. The error "
        "shrinks as long as this factor lies between -1 and 1.",
        "At the border the factor is -1: the slope jumps from one side to the "
        "other and comes no closer. Solve 1 - 2 · lr · m = -1 for lr, where m is "
        "`(x**2).mean()`.",
        "The intercept is a parameter, too, and its factor is 1 - 2 · lr. Which of "
        "the two explodes first?",
    ],
)
def border_of_the_learning_rate(attempt: object) -> str:
    """Try a function that returns the largest learning rate that still works."""
    call = "my_border(x)"
    # Means of x² for which no likely mistake is near another, or near 0.75. Where
    # the mean is below 1, the intercept explodes before the slope.
    for low, high in ((3.2, 4.0), (0.35, 0.42), (6.0, 8.0)):
        m = random.uniform(low, high)
        half = torch.rand(200).add(0.2)
        half *= math.sqrt(m / (half**2).mean())
        x = torch.cat([half, -half])  # a mean of zero
        found = attempted(attempt, call, x, tried="400 numbers with a mean of zero")
        found = number(returned(found, call), call)
        border = min(1.0, 1 / m)
        if abs(found - border) > 0.03 * border:
            raise Wrong(_about_border(found, m))
    return (
        "Beyond this learning rate the error of one parameter grows with every step, "
        "and the fit explodes."
    )


def _about_border(found: float, m: float) -> str:
    """Say which of the likely mistakes a border is."""
    if abs(found - 0.75) < 0.02:
        return (
            f"{found:.3g} is the border for the inputs of section 1. Others have "
            "another mean of x², and so another border."
        )
    if abs(found - 1 / (2 * m)) < 0.01 / m:
        return (
            f"With lr = {found:.3g}, the factor 1 - 2 · lr · m is 0: one step takes "
            "the slope to its place. The border is where the factor is -1."
        )
    if m < 1 and abs(found - 1 / m) < 0.03 / m:
        return (
            f"The mean of x² was {m:.3g}, and {found:.3g} is the border for the slope. "
            "But the intercept explodes before: its factor is 1 - 2 · lr."
        )
    if m < 1:
        return (
            f"The mean of x² was {m:.3g}, so the intercept explodes first. At the "
            f"border its factor, 1 - 2 · lr, is -1; with lr = {found:.3g} it is "
            f"{1 - 2 * found:.3g}."
        )
    factor = 1 - 2 * found * m
    return (
        f"The mean of x² was {m:.3g}. With lr = {found:.3g}, each step multiplies the "
        f"error by 1 - 2 · lr · m = {factor:.3g}. At the border this is -1."
    )


# Exercise 2 ---------------------------------------------------------------------

NUMBERS = torch.linspace(-4, 4, 201, dtype=torch.float64)
SLOPES = {
    "ReLU": (NUMBERS > 0).double(),
    "sigmoid": torch.sigmoid(NUMBERS) * (1 - torch.sigmoid(NUMBERS)),
    "tanh": 1 - torch.tanh(NUMBERS) ** 2,
}
ACTIVATIONS = {"ReLU": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}


@exercise(
    "02.2",
    hints=[
        "Autograd needs one number to start from. Each value depends on its own "
        "input alone, so the gradient of the *sum* of the values holds each slope.",
        "`(slope,) = torch.autograd.grad(values.sum(), numbers)`. Or call "
        "`values.sum().backward()` and read `numbers.grad`, after setting it to None.",
        "Compute the values from `numbers` itself, which has requires_grad=True.",
    ],
)
def slopes_of_activations(attempt: object) -> str:
    """Compare the slopes of three activations with their formulas."""
    answers = mapping(attempt, "my_slopes", list(SLOPES))
    slopes = {}
    for name, answer in answers.items():
        slopes[name] = as_tensor(answer, f'my_slopes["{name}"]', (201,)).double()
    tensors = [torch.as_tensor(answer) for answer in answers.values()]
    if len({tensor.data_ptr() for tensor in tensors}) == 1:  # of one memory
        raise Wrong(
            "All three are one and the same tensor, which changed each time: "
            "`numbers.grad`. Keep a copy of it: `numbers.grad.clone()`."
        )
    total = torch.zeros(201, dtype=torch.float64)
    for name, expected in SLOPES.items():
        found = slopes[name]
        total += expected
        apart = (found - expected).abs()
        if name == "ReLU":  # at its corner any slope from 0 to 1 is right
            apart[100] = max(0.0, -found[100].item(), found[100].item() - 1)
        if (apart < 0.03).all():
            continue
        if same(found, ACTIVATIONS[name](NUMBERS), 1e-3):
            raise Wrong(f"For {name}, these are its values, not its slopes.")
        elsewhere = NUMBERS.abs() > 1e-3
        if name != "ReLU" and same(found[elsewhere], total[elsewhere], 0.03):
            raise Wrong(
                f"The slopes of {name} contain those of the functions before it: "
                "`backward` adds to `numbers.grad`. Set it to None each time."
            )
        worst = int(torch.where(apart.isnan(), torch.inf, apart).argmax())
        raise Wrong(
            f"The slope of {name} at {NUMBERS[worst]:.2f} should be "
            f"{expected[worst]:.3f}, but is {found[worst]:.3f}."
        )
    return "At 4, only ReLU still has a slope to learn from."


# Exercise 3 ---------------------------------------------------------------------


@exercise(
    "02.3",
    hints=[
        "The test image and the kernel are symmetric: rows and columns can be "
        "swapped without a trace. Try the digit `six[0]` and the kernel of section 6.",
        "In `image[a:b, c:d]` the rows come first. Compare with the loop variables.",
        "For images and kernels that are not square, compute the number of rows "
        "and the number of columns of the output each for itself, and take the "
        "size of the window from `kernel.shape`.",
    ],
)
def convolution(attempt: object) -> str:
    """Try a convolution on images and kernels of many shapes."""
    shapes = [((6, 6), (3, 3)), ((7, 10), (2, 4)), ((9, 5), (3, 1)), ((4, 5), (4, 5))]
    for image_shape, kernel_shape in shapes:
        image, kernel = torch.randn(image_shape), torch.randn(kernel_shape)
        tried = f"an image of shape {image_shape} and a kernel of shape {kernel_shape}"
        call = "my_convolve(image, kernel)"
        found = attempted(attempt, call, image, kernel, tried=tried)
        found = as_tensor(returned(found, call), call)
        expected = F.conv2d(image[None, None], kernel[None, None])[0, 0]
        if found.ndim > 2 and found.shape[-2:] == expected.shape:
            found = found.reshape(found.shape[-2:]) if found.numel() else found
        if not same(found, expected):
            raise Wrong(_about_output(found, expected, image, kernel, tried))
    return "Also right where nothing is square and nothing symmetric."


def _about_output(
    found: Tensor, expected: Tensor, image: Tensor, kernel: Tensor, tried: str
) -> str:
    """Say which of the likely mistakes the output of a convolution shows."""
    if found.shape != expected.shape:
        return (
            f"For {tried}, the output should have the shape "
            f"{tuple(expected.shape)}, but has {tuple(found.shape)}."
        )
    if same(found, expected.T):
        return (
            f"For {tried}, the output is transposed: its rows are the columns that "
            "should be there."
        )
    flipped = F.conv2d(image[None, None], kernel.flip(0, 1)[None, None])[0, 0]
    if same(found, flipped):
        return (
            "The kernel is turned upside down and mirrored, as mathematicians do. "
            "In deep learning it is laid on the image as it is."
        )
    return f"For {tried}: {first_difference(found, expected)}."


# Exercise 4 ---------------------------------------------------------------------


# A weight of a kernel that was found may be off by this much. After 300 steps of
# length 0.9 none is off by more, and after 200 of length 1 one always is, whatever
# is drawn.
NEAR = 0.115


def _secret_kernel(images: Tensor) -> Tensor:
    """Draw a kernel (1, 1, 3, 3) that is as hard to find as any other.

    Of the nine directions in which a kernel can differ, gradient descent finds
    some in a few steps and others in hundreds. The kernel has as much of each,
    with random signs.
    """
    rows = F.unfold(images, 3).transpose(1, 2).reshape(-1, 9).double()
    _, directions = torch.linalg.eigh(rows.T @ rows)
    signs = 2.0 * torch.randint(2, (9,)).double() - 1
    return (directions @ signs).float().view(1, 1, 3, 3)


@exercise(
    "02.4",
    hints=[
        "Begin with `kernel = torch.zeros(1, 1, 3, 3, requires_grad=True)`. The "
        "five steps are those of `fit_line`, with F.conv2d in place of the line.",
        "The loss is `F.mse_loss(F.conv2d(images, kernel), results)`.",
        "If it is slow: pixels are small numbers, and so are the gradients. A "
        "learning rate of 0.8 and 400 steps will do.",
    ],
)
def kernel_found(attempt: object) -> str:
    """Try a function that finds a kernel from what it did to digits."""
    call = "my_find_kernel(images, results)"
    images, _ = some_digits(200)
    secret = _secret_kernel(images)
    results = F.conv2d(images, secret)
    tried = "images (200, 1, 28, 28) and results (200, 1, 26, 26)"
    found = attempted(attempt, call, images, results, tried=tried)
    found = as_tensor(returned(found, call), call)
    if found.shape[-2:] != (3, 3) or found.numel() != 9:
        raise Wrong(
            f"The kernel should have the shape (1, 1, 3, 3), but has "
            f"{tuple(found.shape)}."
        )
    found = found.reshape(1, 1, 3, 3).to(torch.float32)
    before = (results**2).mean().item()
    after = ((F.conv2d(images, found) - results) ** 2).mean().item()
    gap = (found - secret).abs().max().item()
    if gap <= NEAR:
        return f"No weight is off by more than {gap:.2g}."
    if (found - secret.flip(2, 3)).abs().max() <= NEAR:
        raise Wrong("This is the secret kernel, but turned by half a turn.")
    if (found - secret.transpose(2, 3)).abs().max() <= NEAR:
        raise Wrong("This is the secret kernel with rows and columns swapped.")
    if not after < 0.5 * before:
        raise Wrong(
            f"Your kernel's squared error is {after:.3g}; a kernel of zeros has "
            f"{before:.3g}. Does your function use the images and results that it is "
            "given? Do the steps go downhill, is the old gradient forgotten before "
            "each, and is the learning rate small enough?"
        )
    again = attempted(attempt, call, images, -results, tried=tried)
    if same(as_tensor(returned(again, call), call).reshape(1, 1, 3, 3), found):
        raise Wrong(
            "Your function returns the same kernel whatever the results are. Does it "
            "use the images and results that it is given?"
        )
    raise Wrong(
        f"It gets closer: the squared error went from {before:.3g} to {after:.3g}. "
        f"But a weight is still off by {gap:.2g}, and should be by 0.11 at most. More "
        "steps, or longer ones? And is the old gradient forgotten before each?"
    )
