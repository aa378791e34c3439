"""The pictures of IJB, aligned by the streamer's own crop from the landmarks that come with them."""

from dataclasses import dataclass

import numpy as np

from streamer.select.align import align
from workers.errors import InputError
from workers.research.data.face_set import Bytes
from workers.research.data.pictures import read
from workers.research.evaluate.ijb_files import Faces, IjbFolder


@dataclass(frozen=True, slots=True, eq=False)
class IjbPictures:
    """Aligned faces (112, 112, 3) RGB, black where a picture ends."""

    folder: IjbFolder
    faces: Faces

    def __len__(self) -> int:
        return len(self.faces.names)

    def read(self, index: int) -> Bytes:
        path = self.folder.pictures / self.faces.names[index]
        picture = np.ascontiguousarray(read(path)[:, :, ::-1])
        try:
            return align(picture, self.faces.landmarks[index])
        except ValueError as error:
            raise InputError(f"{self.folder.faces}:{index + 1}: {path.name}: {error}") from error

    def name(self, index: int) -> str:
        return self.faces.names[index]
