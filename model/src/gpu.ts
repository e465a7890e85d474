import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/** State of a GPU; `undefined` for values that the driver does not report. */
export interface GpuReading {
  index: string;
  memoryUsedBytes: number | undefined;
  memoryTotalBytes: number | undefined;
  /** Share of the time that any kernel ran, 0..1. */
  utilisation: number | undefined;
}

const QUERY = ['--query-gpu=index,memory.used,memory.total,utilization.gpu', '--format=csv,noheader,nounits'];
/** How long a reading is reused, milliseconds. */
const FRESH_MS = 2_000;
/** Timeout of one call of nvidia-smi, and the longest wait of {@link GpuReader.read} for it. */
const CALL_MS = 10_000;
const WAIT_MS = 300;
const MIB = 2 ** 20;

const run = promisify(execFile);

/** Reads NVIDIA GPUs by `nvidia-smi`, which the driver provides in a GPU container. */
export class GpuReader {
  #readings: GpuReading[];
  #readAt = performance.now();
  #reading: Promise<void> | undefined;

  private constructor(readings: GpuReading[]) {
    this.#readings = readings;
  }

  /** @returns `undefined` where no NVIDIA GPU can be read */
  static async find(): Promise<GpuReader | undefined> {
    const readings = await query().catch(() => []);
    return readings.length > 0 ? new GpuReader(readings) : undefined;
  }

  /** @returns the last reading when nvidia-smi takes too long for a new one */
  async read(): Promise<readonly GpuReading[]> {
    if (performance.now() - this.#readAt > FRESH_MS) this.#reading ??= this.#refresh();
    await Promise.race([this.#reading, sleep(WAIT_MS, undefined, { ref: false })]);
    return this.#readings;
  }

  async #refresh(): Promise<void> {
    try {
      this.#readings = await query();
    } catch {
      // A GPU that can't be read any more is shown as unknown, not as it was.
      this.#readings = [];
    }
    this.#readAt = performance.now();
    this.#reading = undefined;
  }
}

async function query(): Promise<GpuReading[]> {
  const { stdout } = await run('nvidia-smi', QUERY, { timeout: CALL_MS, killSignal: 'SIGKILL' });
  return stdout.trim().split('\n').filter(Boolean).map(toReading);
}

/** `0, 1024, 16384, 35`; memory in MiB, utilisation in per cent, `[N/A]` where the driver does not know. */
function toReading(line: string): GpuReading {
  const [index = '', used, total, percent] = line.split(',').map((field) => field.trim());
  const times = (text: string | undefined, unit: number) => {
    const value = Number(text || Number.NaN);
    return Number.isNaN(value) ? undefined : value * unit;
  };
  return {
    index,
    memoryUsedBytes: times(used, MIB),
    memoryTotalBytes: times(total, MIB),
    utilisation: times(percent, 0.01),
  };
}
