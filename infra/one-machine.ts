import load from '../docs/measured/load.json' with { type: 'json' };
import pipelineRun from '../docs/measured/pipeline.json' with { type: 'json' };

/** What one machine carries with all processes on its cores, by the measurements of `npm run bench`. */

/** Cameras that each send `fps` frames a second. */
interface Cameras {
  cameras: number;
  fps: number;
}

/** Speed of the machine in the run with live cameras, relative to that of {@link MEASURED}: it differs by day. */
export const LIVE_SPEED = load.fromKafkaFps / pipelineRun.fromKafka.fps;

/** Measured by `npm run bench` and `npm run bench:load` on one machine, YOLOv8n 640x384 in float32, 720p frames. */
export const MEASURED = {
  machine: pipelineRun.machine,
  cores: pipelineRun.cores,
  frameKb: pipelineRun.frameKb,
  /** CPU milliseconds for a frame, from Kafka to the stored object. */
  cpuMs: pipelineRun.fromKafka.cpuMs,
  /** A camera's frames a second; CPU ms for each of them (read, decode), and each sampled one (JPEG, publish). */
  ingest: {
    cameraFps: load.ingest.cameraFps,
    readMs: load.ingest.readMs * LIVE_SPEED,
    sampleMs: load.ingest.sampleMs * LIVE_SPEED,
  },
  /** Frames a second that were processed, with all frames in Kafka before. */
  fromKafkaFps: pipelineRun.fromKafka.fps,
  /** Steps of the run with live cameras: their number and rate, and the frames a second that were stored. */
  live: load.steps,
};

/**
 * Frames a second that one machine stores with all processes on its cores. Cameras can't wait, so ingest uses the CPU
 * first. The rest is for the later stages.
 */
export function oneMachineFps(cores: number, live: Cameras): number {
  return Math.min(live.cameras * live.fps, Math.max(0, fromKafkaFps(cores - ingestCores(live))));
}

/** Frames a second from Kafka to stored objects on `cores` cores, with inference. */
export function fromKafkaFps(cores: number): number {
  return (cores * 1000) / Object.values(MEASURED.cpuMs).reduce((sum, ms) => sum + ms);
}

/** Most cameras at `fps` frames a second that one machine keeps up with. */
export function oneMachineCameras(cores: number, fps: number): number {
  let cameras = 0;
  while (oneMachineFps(cores, { cameras: cameras + 1, fps }) === (cameras + 1) * fps) cameras++;
  return cameras;
}

export function ingestCores({ cameras, fps }: Cameras): number {
  const { cameraFps, readMs, sampleMs } = MEASURED.ingest;
  return (cameras * (cameraFps * readMs + fps * sampleMs)) / 1000;
}
