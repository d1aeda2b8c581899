"""The notebooks run here as on a first day: without the runs that a learner has kept beside them."""

import os
import tempfile

os.environ["FREEZE_LAB_FOLDER"] = tempfile.mkdtemp(prefix="freeze_lab_")
