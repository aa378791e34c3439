"""Analyses video files through the stages of the live streamer, but waits instead of dropping frames or crops.

Each video gets a folder of results, see filenames.py. Answers are processed in the order of
the frames, whatever order they arrive in, so two runs over the same file write the same bytes. A run that was killed
goes on by its journal, see journal.py.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Event

from faceanalytics.errors import ConfigError, InputError
from faceanalytics.scratch import scratch_folder
from streamer.config import StreamerConfig
from streamer.detect.detector import Detector
from streamer.detect.roll import RollNetwork
from streamer.dispatch.dispatcher import Dispatcher
from streamer.dispatch.ledger import Priority
from streamer.dispatch.worker_process import WorkerOptions, run_worker
from streamer.identity.blank import blank_embedding
from streamer.identity.enrolment import embed, enrolled, gallery_record, read_gallery
from streamer.lifecycle import in_thread
from streamer.privacy import Mode
from streamer.recorded.counted import check_mode
from streamer.recorded.outputs import refuse_to_remove
from streamer.recorded.part import Part
from streamer.recorded.turns import Turn, in_turns
from streamer.recorded.video_analysis import Gallery, OnFrame, Options, Shared, VideoAnalysis
from streamer.recorded.writer import VideoResult
from streamer.source.file import probe_file
from streamer.source.hardware import check_device

log = logging.getLogger(__name__)

OnEnd = Callable[[VideoResult], None]


class Analysis:
    """Analyses videos with one detector and one set of workers, which go from one video to the next without a pause."""

    def __init__(
        self,
        config: StreamerConfig,
        worker: WorkerOptions | None,
        *,
        embeddings: bool = False,
        explain: bool = False,
        video_stream: int | None = None,
        start_time: datetime | None = None,
        part: Part | None = None,
        overwrite: bool = False,
        annotate: str | None = None,
    ) -> None:
        """`worker` is started as a child process; None: workers connect to `dispatch.bind` by themselves.

        `embeddings`: write the identity templates of the tracks also if there is only one video. `explain`: also write
        why each face was analysed or not. `video_stream`: which one of a file, from 0; None: the one that players show.
        `start_time`: when the first frame was taken; None: when the file says that it was created, if it does. `part`:
        of each video; None: all of it. `overwrite`: replace the results that a folder has, else go on with them or
        refuse it. `annotate`: quality of the annotated video, one of QUALITIES; None: there is no annotated video.
        Raises ConfigError for files that the privacy mode does not allow.
        """
        check_mode(config, {"--embeddings": embeddings, "--explain": explain, "--annotate": annotate is not None})
        self._config = config
        self._options = Options(
            embeddings=embeddings,
            explain=explain,
            video_stream=video_stream,
            start_time=start_time,
            part=part or Part(),
            overwrite=overwrite,
            annotate=annotate,
        )
        self._worker = worker
        self._stop = Event()
        self._begun = False  # a video is being analysed
        self._dispatcher: Dispatcher | None = None

    def stop(self) -> None:
        """Make `run` finish the frames in progress and return; the files hold the results so far, and can go on."""
        self._stop.set()
        if self._dispatcher is not None:
            wait_s = self._config.drain_s if self._begun else 0
            asyncio.get_running_loop().call_later(wait_s, self._dispatcher.give_up)

    async def run(
        self, videos: Sequence[tuple[Path, Path]], progress: OnFrame, ended: OnEnd = lambda _: None
    ) -> list[VideoResult]:
        """Analyse each (video, folder) and write the results into that folder.

        `progress` is called after each frame, `ended` after each video. A video that cannot be analysed, or whose
        folder holds results of another analysis, has its `problem` and `failure` set, and the other videos go on.
        Raises ConfigError, ModelError, LostDependency, or an ExceptionGroup of the exceptions of the parts.
        """
        refuse_to_remove(videos)
        if self._options.start_time is not None and len(videos) > 1:
            raise ConfigError("--start-time: it is that of one video; analyse the videos one at a time")
        self._options.part.check(self._config.track)
        check_device(self._config.sources.decode_device)
        results = [VideoResult(video, out) for video, out in videos]
        for place, result in enumerate(results):  # the slow parts start when there is something to analyse
            if await self._is_readable(result):
                await self._analyse_all(results[place:], len(results) > 1, progress, ended)
                break
            ended(result)
        return results

    async def _is_readable(self, result: VideoResult) -> bool:
        try:
            await asyncio.to_thread(
                probe_file,
                result.video,
                device=self._config.sources.decode_device,
                video_stream=self._options.video_stream,
            )
        except InputError as error:
            result.fail(error)
            return False
        return True

    async def _analyse_all(
        self, results: Sequence[VideoResult], several: bool, progress: OnFrame, ended: OnEnd
    ) -> None:
        with scratch_folder() as folder:
            dispatch = self._config.dispatch
            if self._worker:
                dispatch = dispatch.on_socket(folder / "workers")
            stuck: asyncio.Queue[str] = asyncio.Queue()
            dispatcher = Dispatcher(dispatch, on_stuck=stuck.put_nowait, min_batch=dispatch.batch, keep_model=True)
            self._dispatcher = dispatcher
            try:
                async with asyncio.TaskGroup() as group:
                    wire = group.create_task(dispatcher.run())
                    child = group.create_task(run_worker(self._worker, dispatch.bind, stuck)) if self._worker else None
                    # the worker loads in the meantime
                    detector = await in_thread("detect", partial(Detector, self._config.detect), stop=lambda: None)
                    gallery = await self._enrol(detector, dispatcher)
                    shared = await self._share(detector, dispatcher, gallery, several)
                    analyse = partial(self._analyse, progress, shared)
                    await in_turns(results, analyse, ended, self._stop.is_set)
                    if child is not None:
                        child.cancel()
                        await asyncio.wait([child])
                    wire.cancel()
            finally:
                dispatcher.close()

    async def _share(
        self, detector: Detector, dispatcher: Dispatcher, gallery: Gallery | None, several: bool
    ) -> Shared | None:
        """Wait for the model of the workers. None: the run is stopped. Raises ConfigError."""
        if not dispatcher.models:
            log.info("waiting for a worker at %s", dispatcher.endpoint)
        model = await dispatcher.wait_for_worker()
        if model is None:
            return None
        if self._options.embeddings and not model.identity:
            raise ConfigError(
                f"--embeddings: the weights {model.id} were not trained for identity and give no embeddings"
            )
        if self._config.privacy.mode is Mode.AGGREGATE_ONLY:
            model = replace(model, identity=False)  # embeddings do not leave the workers
        blank = await blank_embedding(model, partial(dispatcher.analyse, priority=Priority.RECORDED))
        models = detector, RollNetwork(), dispatcher, model, blank
        return Shared(self._config, self._options, several, *models, gallery, self._stop.is_set)

    async def _enrol(self, detector: Detector, dispatcher: Dispatcher) -> Gallery | None:
        """Read the gallery, if one is configured, and embed it. Raises ConfigError, InputError, LostDependency."""
        config = self._config
        if config.gallery.folder and config.privacy.mode is not Mode.IDENTITY:
            log.warning("gallery.folder is not used: nobody is named in the privacy mode %s", config.privacy.mode)
            return None
        read = partial(read_gallery, config, detector, self._stop.is_set)
        people, strangers = await in_thread("gallery", read, stop=self._stop.set)
        if not people:
            return None
        analyse = partial(dispatcher.analyse, priority=Priority.ENROLMENT)
        found = await embed([*people, *strangers], analyse, dispatcher.wait_for_worker, self._stop.is_set)
        if found is None:
            return None
        model, images = found
        gallery, impostors = enrolled(config, model, images[: len(people)], images[len(people) :])
        return Gallery(gallery, impostors, gallery_record(config.gallery, gallery, [*people, *strangers]))

    async def _analyse(self, progress: OnFrame, shared: Shared | None, result: VideoResult, turn: Turn) -> None:
        assert shared is not None  # else the run is stopped
        await VideoAnalysis(shared, result, self._begin, progress).run(turn)

    def _begin(self) -> None:
        self._begun = True
