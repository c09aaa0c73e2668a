"""What the server process that workers are forked from imports and compiles, once for all of them."""

import cv2
import numpy as np

from data_prep.writing import dataset as writer  # noqa: F401
from toolkit.imagefile.jpeg import whole as jpeg

jpeg.whole([cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()])
