import { setTimeout as sleep } from 'node:timers/promises';
import { CANARY_STOPPED_KEY } from '@video-pipeline/frame';
import { namespaceOf } from './metrics.ts';
import type { Stage } from './stages.ts';

/** How often to check whether an alarm has stopped the canary, milliseconds. */
const EVERY_MS = 15_000;

interface CanaryRequest {
  stage: Stage;
  image: string;
  minutes: number;
  share: number;
  shadow: boolean;
  bucket: string | undefined;
}

interface CanaryCommands {
  /** Runs the AWS command line. @throws Error when it fails */
  aws: (...args: string[]) => string;
  /** Deploys the stage with these variables, in addition to the shell's. */
  deploy: (variables: NodeJS.ProcessEnv) => void;
  note: (line: string) => void;
  /** Saves the image that is in use from now on. */
  keep: (image: string) => void;
}

/**
 * Tries an image beside the one in use. It deploys the image for a share of the batches and watches it for some
 * minutes. Then the image replaces the one in use, or is removed if an alarm has stopped it or a command has
 * failed. A shadow is always removed.
 * @throws Error when the canary was stopped, got no frame, or could not be deployed or watched
 */
export async function runCanary(request: CanaryRequest, commands: CanaryCommands): Promise<void> {
  const { stage, image, minutes, share, shadow, bucket } = request;
  const { aws, deploy, note, keep } = commands;
  if (stage.inference.backend !== 'eks')
    throw new Error(`stage '${stage.name}' has no EKS: a canary needs it`);
  if (share === 1 && !shadow)
    throw new Error('--share 1 leaves no batch to compare with: set a lower share, or --shadow');
  if (!bucket) throw new Error(`stage '${stage.name}' has no outputs here: deploy it first`);
  const mark = `s3://${bucket}/${CANARY_STOPPED_KEY}`;
  aws('s3', 'rm', mark);
  let [why, frames]: [string | undefined, number] = [undefined, 0];
  try {
    deploy({
      MODEL_CANARY: image,
      INFERENCE_CANARY_SHARE: String(share),
      INFERENCE_CANARY_MODE: shadow ? 'shadow' : 'canary',
    });
    note(`${image} gets ${share * 100} % of the batches, for ${minutes} minutes`);
    note('Ctrl-C ends only the watch: npm run deploy -- infra removes the canary');
    const begun = new Date();
    why = await watch(begun.getTime() + minutes * 60_000, () => stopOf(aws, bucket));
    frames = framesOf(aws, stage, begun);
    if (frames === 0) why ??= 'it answered no frame: does a camera of the stage send any?';
  } catch (error) {
    // A canary that is half deployed, or that nobody watches, must not stay.
    why = (error as Error).message;
  }
  if (why === undefined && !shadow) {
    deploy({ MODEL_IMAGE: image });
    keep(image);
    note(`${image} answered ${frames} frames without an alarm, and is in use`);
    return;
  }
  if (why !== undefined) note(`removing the canary: ${why}`);
  deploy({});
  if (why !== undefined) throw new Error(`the canary was removed: ${why}`);
  note(`${image} answered ${frames} frames without an alarm; it was a shadow, and is removed`);
}

async function watch(until: number, stopOf: () => string | undefined): Promise<string | undefined> {
  for (;;) {
    const stopped = stopOf();
    const remaining = until - Date.now();
    if (stopped !== undefined || remaining <= 0) return stopped;
    await sleep(Math.min(EVERY_MS, remaining));
  }
}

/** The alarm that has stopped the canary, and its reason; undefined if none has. */
function stopOf(aws: CanaryCommands['aws'], bucket: string): string | undefined {
  const listed = aws('s3api', 'list-objects-v2', '--bucket', bucket, '--prefix', CANARY_STOPPED_KEY);
  if (!listed.includes(CANARY_STOPPED_KEY)) return undefined;
  const { alarm, reason } = JSON.parse(aws('s3', 'cp', `s3://${bucket}/${CANARY_STOPPED_KEY}`, '-'));
  return `${alarm}: ${reason}`;
}

/** Frames that the canary has answered. */
function framesOf(aws: CanaryCommands['aws'], { name }: Stage, begun: Date): number {
  const sums = aws(
    ...['cloudwatch', 'get-metric-statistics', '--namespace', namespaceOf(name)],
    ...['--metric-name', 'VariantFrames', '--statistics', 'Sum', '--period', '86400'],
    ...['--dimensions', 'Name=service,Value=detect', 'Name=variant,Value=canary'],
    ...['--start-time', begun.toISOString(), '--end-time', new Date().toISOString()],
    ...['--query', 'Datapoints[].Sum'],
  );
  return (JSON.parse(sums) as number[]).reduce((sum, one) => sum + one, 0);
}
