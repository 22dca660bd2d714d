"""Every kind of problem that a YOLO-seg dataset can have."""

from __future__ import annotations

from ...coco.problems import Kind

_ROW = "Write `class x1 y1 x2 y2 x3 y3 …`: the class number, then at least 3 points as shares of width and height."
_ROW_OUT = "the row is left out"
_IMAGE_OUT = "the image is left out"
_NO_MASK = "left out: it is no mask"
_MAKE_MASKS = (
    "Make masks of boxes: `autodistill-seg label IMAGES --base boxes --base-arg file=data.yaml --segmenter NAME`."
)

# ------------------------------------------------------------------------------------------------ data.yaml
NC = Kind("warning", "`nc` is not the number of names", "`names` counts", "Correct `nc`, or remove it.")
ALIKE = Kind(
    "warning",
    "class names differ only in case or spaces",
    "read as two classes",
    "Give them one name, or clearer names.",
)
UNDECLARED = Kind(
    "warning", "no split is declared", "the usual folders are read", "Write `train: train/images` in data.yaml."
)
DATASETS = Kind(
    "warning",
    "`path` counts from a datasets folder",
    "taken from the folder above, as ultralytics does with its datasets folder",
    "Write `path: .`.",
)
NO_TEST = Kind("warning", "test split does not exist", "read without it", "Remove `test`, or add the images.")
SPELLING = Kind(
    "warning",
    "name is spelled differently on disk",
    "the one file or folder that fits is read",
    "Rename it, or write its name as it is on disk.",
)
# ------------------------------------------------------------------------------------------------ images
NO_IMAGES = Kind("error", "split has no image", "the split is empty", "Name the folder that holds the images.")
MISSING = Kind("error", "listed image does not exist", _IMAGE_OUT, "Correct the line, or remove it.")
ELSEWHERE = Kind(
    "warning",
    "listed path is of another machine",
    "its last folders are looked up here",
    "Write it relative to the list.",
)
NOT_IMAGE = Kind("error", "listed file is no image", _IMAGE_OUT, "Name images alone.")
TWO_FIT = Kind(
    "error", "listed image could be two files", _IMAGE_OUT, "Start the line with ./ to count from the list's folder."
)
OUTSIDE = Kind(
    "error", "leads out of the dataset's folder", "it is not read", "Copy or hard-link the file into the folder."
)
CLOSED = Kind("error", "folder cannot be listed", "nothing of it is read", "Change its permissions.")
OPEN = Kind("error", "image cannot be opened", _IMAGE_OUT, "Remove the image, or save it again.")
SIDE = Kind("error", "image is too large for a mask", _IMAGE_OUT, "Cut the image into tiles.")
LISTED_TWICE = Kind("warning", "image is listed twice in a split", "read once", "Remove one of the lines.")
IN_TWO_SPLITS = Kind(
    "warning",
    "image is in two splits",
    "read in both",
    "A model must not be scored on images it was trained on: use it in one split.",
)
# ------------------------------------------------------------------------------------------------ label files
SHARED = Kind("error", "label file of two images", "both images are left out", "Rename one image, and give it a file.")
TWO_LABELS = Kind("error", "image could have two label files", _IMAGE_OUT, "Keep the right one.")
TEXT = Kind("error", "label file cannot be read", _IMAGE_OUT, "Save it as UTF-8 text.")
BESIDE = Kind(
    "warning",
    "label files are beside the images",
    "read, as there is no `labels` folder",
    "Move them into a folder `labels` beside `images`: other readers look there.",
)
NOT_READ = Kind(
    "warning",
    "label file beside an image is not read",
    "the file in the `labels` folder is used",
    "Move the file into the `labels` folder if it belongs there.",
)
NO_LABELS = Kind(
    "warning",
    "split has no label file",
    "its images are read as images without objects",
    "Labels of images/a.png are read from labels/a.txt; without a folder `images`, from beside the image.",
)
ORPHAN = Kind("warning", "label file has no image", "not read", "Add the image, or remove the file.")
# ------------------------------------------------------------------------------------------------ rows
NUMBERS = Kind("error", "row is not numbers", _ROW_OUT, _ROW)
CLASS = Kind("error", "class is not a whole number", _ROW_OUT, "Write the class's number in `names`, from 0.")
UNKNOWN_CLASS = Kind(
    "error", "class number is not in `names`", _ROW_OUT, "Add the class to `names`, or correct the row."
)
COUNT = Kind("error", "row is no polygon", _ROW_OUT, _ROW)
CONFIDENCE = Kind(
    "error",
    "row may end in a confidence",
    _ROW_OUT,
    "Remove the last number of each row if it is a confidence (`save_conf`); otherwise add the missing one.",
)
PIXELS = Kind(
    "error", "coordinates look like pixels", _ROW_OUT, "Divide x by the image's width and y by its height: 0 to 1."
)
FAR_OUT = Kind(
    "error", "polygon extends beyond the image", _ROW_OUT, "Coordinates are shares of width and height, 0 to 1."
)
LINE = Kind("error", "polygon is a line", _ROW_OUT, "Draw the outline again, or remove the row.")
LIKE_POSES = Kind(
    "error",
    "rows look like poses",
    "no row is read",
    "Write `kpt_shape` in data.yaml if they are keypoints, or `task: segment` if they are outlines.",
)
MASK = Kind("error", "mask cannot be read", _ROW_OUT, _ROW)
DECIMAL_CLASS = Kind("warning", "class is written as a decimal", "read as a whole number", "Write 1, not 1.0.")
COMMAS = Kind("warning", "commas separate the numbers", "read as separators", "Separate numbers with spaces.")
DECIMAL_COMMAS = Kind("warning", "numbers have decimal commas", "read as decimals", "Write 0.5, not 0,5.")
BOX = Kind("warning", "row is a box", _NO_MASK, _MAKE_MASKS)
BOX_OUTSIDE = Kind(
    "error", "box is not shares of the image", _ROW_OUT, "Write center, width and height as shares of width and height."
)
POSE = Kind("warning", "row is a pose", _NO_MASK, _MAKE_MASKS)
CLIPPED = Kind("warning", "coordinates are just outside the image", "moved to its edge", "Keep them in 0 to 1.")
TWICE = Kind("warning", "row is repeated", "read once", "Remove one.")
NO_PIXEL = Kind("warning", "mask covers no pixel", "left out", "Remove the row, or label a larger image.")
