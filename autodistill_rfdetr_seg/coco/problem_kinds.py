"""Every kind of problem that a COCO file or its images can have: the words for it, and what reading does about it.

A row with a warning is read as it is obviously meant, and counted. A row with an error is not read: `read` refuses the
file, and `repair` leaves the row out, or corrects it if its text says so.
"""

from __future__ import annotations

from .problems import Kind


def _warning(name: str, treatment: str, hint: str = "") -> Kind:
    return Kind("warning", name, treatment, hint)


def _error(name: str, treatment: str, hint: str) -> Kind:
    return Kind("error", name, treatment, hint)


# The file
NOT_FOUND = _error("no COCO file is found", "nothing of it is read", "")
NOT_JSON = _error("file cannot be read", "nothing of it is read", "Write one JSON object in UTF-8.")
NOT_COCO = _error(
    "not a COCO file",
    "nothing of it is read",
    "It needs the lists `images`, `annotations` and `categories`.",
)
ROW = _error("row is not an object", "left out", "Write an object `{…}` for each row.")
NO_IMAGES = _warning("file lists no image", "it holds nothing")

# Ids
ID_FORM = _warning("id is a whole number in another form", "read as the number")
ID_TEXT = _warning("id is text", "taken as it is")
NO_ID = _error("row has no id", "left out", "Give every image and category an `id` of its own.")
ID_TWICE = _error("id used twice", "the rows and what points to them are left out", "Give every row its own `id`.")
ROW_TWICE = _warning("row is listed twice", "read once")
ANNOTATION_ID = _warning("annotation id is missing or used twice", "every annotation is kept under a new id")
ANNOTATION_ID_ZERO = _warning(
    "annotation id is 0", "read; pycocotools counts it as unmatched, and CVAT refuses it", "Number them from 1."
)

# Categories
CATEGORY_NAME = _error("category has no name", "called by its id", "Give it a `name` in text.")
CATEGORY_NAME_FORM = _warning("category name is a number", "taken as text")
CATEGORY_NAME_SPACE = _warning("category name has spaces around it", "taken without them")
CATEGORY_NAME_LINES = _warning(
    "category name has line breaks or control characters", "taken with spaces in their place"
)
CATEGORY_TWICE = _error("two categories share a name", "joined", "Join them under one id, or rename one.")
CATEGORY_CASE = _warning("categories differ only in case or spaces", "kept apart", "Join them if they are one class.")
PLACEHOLDER = _warning("category only names a supercategory", "no class")
UNKNOWN_CATEGORY = _error(
    "unknown category id", "kept in a class that is called by the id", "List its category, or remove the annotation."
)
CATEGORY_BY_NAME = _warning("category is given by its name", "read as the only category of that name")
CATEGORY_MISSING = _error(
    "annotation has no category id",
    "kept in a class that is called `no category`",
    "Write its `category_id`, or remove the annotation.",
)

ANNOTATION_TWICE = _warning(
    "annotation is there twice",
    "both are kept",
    "Remove one: the object would be trained on and counted twice.",
)

# Images
FILE_NAME = _error("file name is not one inside the folder", "left out", "Write it relative to the JSON's folder.")
FILE_NAME_KEY = _warning("file name is under another key", "read, as there is no `file_name`")
FILE_NAME_FORM = _warning("file name is written in another way", "found: it can mean one file only")
FILE_NAME_AMBIGUOUS = _error("file name fits two files", "left out", "Write the name of the one that is meant.")
FILE_TWICE = _error("image is listed twice", "joined", "Join both rows under one id.")
IMAGE_MISSING = _error("image file is missing", "left out", "Put the file there, or remove its row.")
IMAGE_LINK = _error(
    "image file is a link that leaves the folder", "left out", "Copy or hard-link it into the dataset's folder."
)
IMAGE_UNREADABLE = _error("image file cannot be opened", "left out", "Remove it, or save it again.")
IMAGE_TOO_LARGE = _error("image is too large", "left out", "Cut it into parts.")
SIZE = _error(
    "image size is not two numbers over 0",
    "taken from the image file",
    "Write the file's `width` and `height` in pixels.",
)
SIZE_FORM = _warning("image size is in another form", "read as the whole number")
SIZE_MISSING = _warning("image size is missing", "taken from the image file")
SIZE_DIFFERS = _error(
    "image size is not the file's",
    "left out",
    "Masks would lie over the wrong pixels: write the file's size, or use "
    "`autodistill-seg repair --trust-images` where it is off by a pixel or two.",
)
SIZE_SWAPPED = _error(
    "width and height are swapped",
    "left out",
    "If the masks fit the image as it is, swap `width` and `height` (`autodistill-seg repair --trust-images` does); if "
    "the image was turned after it was annotated, turn it back.",
)
SIZE_TRUSTED = _warning("image size is not the file's", "taken from the image file, as --trust-images asks")
TURNED = _warning(
    "image is turned by EXIF",
    "read as it was annotated; a dataset of ours gets its pixels upright",
    "Other readers may see it turned otherwise: save it upright.",
)

# Annotations
UNKNOWN_IMAGE = _error("unknown image id", "left out", "List its image, or remove the annotation.")
IMAGE_LEFT_OUT = _warning("annotation of an image that is left out", "left out with it")
AREA_MISSING = _warning("area is missing", "computed from the mask")
AREA_FORM = _warning("area is not a number of at least 0", "computed from the mask, or read as the number")
AREA_DIFFERS = _warning(
    "area is not the mask's", "computed from the mask; evaluation takes it as stated, unless --area-from is mask"
)
BOX_MISSING = _warning("box is missing", "computed from the mask")
BOX_FORM = _warning("box is not four numbers", "computed from the mask, or read as the numbers")
BOX_DIFFERS = _warning("box is not the mask's", "computed from the mask")
NO_BOX = _error("object has no box", "left out", "Write x, y, width and height in pixels, or a mask.")
SCORE_FORM = _warning("score is not a number from 0 to 1", "left out")
CROWD_MISSING = _warning("iscrowd is missing", "taken as 0")
CROWD_FORM = _warning("iscrowd is in another form", "read as 0 or 1")
CROWD_WRONG = _error("iscrowd is not 0 or 1", "taken as 0", "Write 0, or 1 for a region of many objects.")
CROWD = _warning(
    "annotation is a crowd",
    "kept as one; training leaves it out, where it becomes background",
    "If it is one object (CVAT writes every brush mask so): `autodistill-seg repair --crowds objects`, and `evaluate "
    "--crowds objects`.",
)
NO_MASK = _error(
    "annotation has no mask",
    "left out",
    "A box is no mask. Make masks of boxes with `autodistill-seg label IMAGES --base boxes --base-arg file=FILE`, or "
    "leave these out with `autodistill-seg repair`.",
)
MASK = _error("mask cannot be read", "left out", "Write it again, or leave it out with `autodistill-seg repair`.")
MASK_FORM = _warning("mask is written in another form", "read as the mask that is plainly meant")
MASK_PART = _warning("polygon of fewer than 3 points beside sound ones", "left out: it covers no pixel")
MASK_OUTSIDE = _warning("polygon extends beyond the image", "cut off at its edge")
MASK_EMPTY = _warning("mask covers no pixel", "left out of a dataset; nothing can match it in an evaluation")
MASK_MOVED = _warning("mask has another size than the image", "cut off or filled up at the right and bottom edge")
