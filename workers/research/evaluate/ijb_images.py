"""Align the images of IJB with the streamer's own crop code, by the landmarks that come with them."""

from dataclasses import dataclass

import numpy as np

from faceanalytics.errors import InputError
from streamer.select.align import align
from workers.research.data.face_set import Bytes
from workers.research.data.images import read
from workers.research.evaluate.ijb_files import Faces, IjbFolder


@dataclass(frozen=True, slots=True, eq=False)
class IjbImages:
    """Aligned faces (112, 112, 3) RGB, black beyond the image."""

    folder: IjbFolder
    faces: Faces

    def __len__(self) -> int:
        return len(self.faces.names)

    def read(self, index: int) -> Bytes:
        path = self.folder.images / self.faces.names[index]
        image = np.ascontiguousarray(read(path)[:, :, ::-1])
        try:
            return align(image, self.faces.landmarks[index])
        except ValueError as error:
            raise InputError(f"{self.folder.faces}:{index + 1}: {path.name}: {error}") from error

    def name(self, index: int) -> str:
        return self.faces.names[index]
