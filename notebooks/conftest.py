"""The notebooks run here as on a first day: without the runs that a learner has kept beside them."""

import os
import tempfile

empty = tempfile.TemporaryDirectory(prefix="freeze_lab_")
os.environ["FREEZE_LAB_FOLDER"] = empty.name
