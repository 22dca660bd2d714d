"""What each command of the command line does: options in, stages run, results printed, exit code out."""

from . import evaluating, labelling, looking, roboflow, training, using
from . import machine_info as machine

BY_NAME = {
    "demo": training.demo,
    "label": labelling.label,
    "plan": labelling.plan,
    "build": labelling.build,
    "import": labelling.import_labels,
    "train": training.train,
    "evaluate": evaluating.evaluate,
    "predict": using.predict,
    "export": using.export,
    "benchmark": using.benchmark,
    "run": training.run,
    "report": looking.report,
    "review": looking.review,
    "explain": looking.explain,
    "diff": looking.diff,
    "validate": looking.validate,
    "repair": looking.repair,
    "push": roboflow.push,
    "cloud-train": roboflow.cloud_train,
    "deploy": roboflow.deploy,
    "bases": machine.bases,
    "doctor": machine.doctor,
}
