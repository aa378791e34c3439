"""Define the meaning of SwinFace's outputs: one table of its 42 tasks, in the order of its outputs."""

from dataclasses import dataclass

EXPRESSIONS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")  # RAF-DB label - 1
AFFECTNET_TO_EXPRESSION = (6, 3, 4, 0, 1, 2, 5)  # AffectNet: neutral happy sad surprise fear disgust anger
SUBNETS = 11
EMBEDDING = "recognition"  # slug of the 43rd output, which comes from the backbone


@dataclass(frozen=True, slots=True)
class Task:
    """One analysis head."""

    name: str  # as published
    width: int  # 1: a number; 2: logits of no and yes; 7: logits of EXPRESSIONS
    subnet: int  # 0..10: the subnet that feeds it
    head: int  # 0..41: index among the heads of the published checkpoint
    celeba: int | None = None  # column of CelebA's own list_attr_celeba, from 0
    score_name: str = ""  # meaning of a high score, in lower case; empty: the slug

    @property
    def slug(self) -> str:
        """The name in lower case, blanks as underscores, without apostrophes."""
        return self.name.lower().replace(" ", "_").replace("'", "")

    @property
    def score(self) -> str:
        """The name of the score in results: the proto's enum value in lower case."""
        return self.score_name or self.slug


# In the order of the outputs. The published training labels of CelebA use this order too, not CelebA's own.
TASKS = (
    Task("Age", 1, 1, 1),
    Task("Attractive", 2, 3, 5, 2),
    Task("Blurry", 2, 3, 6, 10),
    Task("Chubby", 2, 3, 7, 13),
    Task("Heavy Makeup", 2, 3, 8, 18),
    Task("Gender", 2, 0, 0, 20, "male"),
    Task("Oval Face", 2, 3, 9, 25),
    Task("Pale Skin", 2, 3, 10, 26),
    Task("Smiling", 2, 2, 4, 31),
    Task("Young", 2, 1, 2, 39),
    Task("Bald", 2, 4, 11, 4),
    Task("Bangs", 2, 4, 12, 5),
    Task("Black Hair", 2, 4, 13, 8),
    Task("Blond Hair", 2, 4, 14, 9),
    Task("Brown Hair", 2, 4, 15, 11),
    Task("Gray Hair", 2, 4, 16, 17),
    Task("Receding Hairline", 2, 4, 17, 28),
    Task("Straight Hair", 2, 4, 18, 32),
    Task("Wavy Hair", 2, 4, 19, 33),
    Task("Wearing Hat", 2, 4, 20, 35),
    Task("Arched Eyebrows", 2, 5, 21, 1),
    Task("Bags Under Eyes", 2, 5, 22, 3),
    Task("Bushy Eyebrows", 2, 5, 23, 12),
    Task("Eyeglasses", 2, 5, 24, 15),
    Task("Narrow Eyes", 2, 5, 25, 23),
    Task("Big Nose", 2, 6, 26, 7),
    Task("Pointy Nose", 2, 6, 27, 27),
    Task("High Cheekbones", 2, 7, 28, 19),
    Task("Rosy Cheeks", 2, 7, 29, 29),
    Task("Wearing Earrings", 2, 7, 30, 34),
    Task("Sideburns", 2, 7, 31, 30),
    Task("Five O'Clock Shadow", 2, 8, 32, 0, "five_o_clock_shadow"),
    Task("Big Lips", 2, 8, 33, 6),
    Task("Mouth Slightly Open", 2, 8, 34, 21),
    Task("Mustache", 2, 8, 35, 22),
    Task("Wearing Lipstick", 2, 8, 36, 36),
    Task("No Beard", 2, 8, 37, 24),
    Task("Double Chin", 2, 9, 38, 14),
    Task("Goatee", 2, 9, 39, 16),
    Task("Wearing Necklace", 2, 10, 40, 37),
    Task("Wearing Necktie", 2, 10, 41, 38),
    Task("Expression", 7, 2, 3),
)

ATTRIBUTES = tuple(task for task in TASKS if task.width == 2)
OUTPUTS = (*(task.slug for task in TASKS), EMBEDDING)  # the 43 slugs
CELEBA_COLUMNS = tuple(task.celeba for task in ATTRIBUTES if task.celeba is not None)  # CelebA column of each attribute
