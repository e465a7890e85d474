import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

export type GpuReading = ReturnType<typeof toReading>;

const QUERY = ['--query-gpu=index,memory.used,memory.total,utilization.gpu', '--format=csv,noheader,nounits'];
/** How long a reading is reused, milliseconds. */
const FRESH_MS = 2_000;
/** Timeout of one call of nvidia-smi, and the longest wait of {@link ReadGpus} for it. */
const CALL_TIMEOUT_MS = 10_000;
const WAIT_MS = 300;
const MIB = 2 ** 20;

const run = promisify(execFile);

/** Reads the GPUs. @returns the last reading when nvidia-smi takes too long for a new one */
export type ReadGpus = () => Promise<readonly GpuReading[]>;

/**
 * Finds NVIDIA GPUs by `nvidia-smi`, which the driver provides in a GPU container.
 * @returns `undefined` where none can be read
 */
export async function findGpus(): Promise<ReadGpus | undefined> {
  // A GPU that can't be read any more is shown as unknown, not as it was.
  const queried = () => query().catch(() => []);
  let readings = await queried();
  if (readings.length === 0) return undefined;
  let readAt = performance.now();
  let reading: Promise<void> | undefined;
  const refresh = async () => {
    readings = await queried();
    readAt = performance.now();
    reading = undefined;
  };
  return async () => {
    if (performance.now() - readAt > FRESH_MS) reading ??= refresh();
    await Promise.race([reading, sleep(WAIT_MS, undefined, { ref: false })]);
    return readings;
  };
}

async function query(): Promise<GpuReading[]> {
  const { stdout } = await run('nvidia-smi', QUERY, { timeout: CALL_TIMEOUT_MS, killSignal: 'SIGKILL' });
  return stdout.trim().split('\n').filter(Boolean).map(toReading);
}

/**
 * State of a GPU from a line `0, 1024, 16384, 35`: memory in MiB, utilisation in per cent. Values that the driver does
 * not report (`[N/A]`) are `undefined`.
 */
function toReading(line: string) {
  const [index = '', used, total, percent] = line.split(',').map((field) => field.trim());
  const times = (text: string | undefined, unit: number) => {
    const value = Number(text || Number.NaN);
    return Number.isNaN(value) ? undefined : value * unit;
  };
  return {
    index,
    memoryUsedBytes: times(used, MIB),
    memoryTotalBytes: times(total, MIB),
    /** Share of the time that any kernel ran, 0..1. */
    utilisation: times(percent, 0.01),
  };
}
