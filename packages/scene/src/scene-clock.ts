import type { Frame } from '@video-pipeline/frame';
import { z } from 'zod';

export const clockStateSchema = z.object({
  /** The scene's own time after the newest frame, milliseconds; -1 before the first one. */
  time: z.number(),
  /** Ingest sessions of the newest frames, the current one last. */
  sessions: z.array(
    z.object({
      id: z.string(),
      /** Number of its newest frame. */
      number: z.number(),
      /** What is added to its capture times to get the scene's own time, milliseconds. */
      skew: z.number(),
    }),
  ),
  /** A frame so far ahead that the next one must confirm it: its session, number, and time in the scene. */
  ahead: z.object({ session: z.string(), number: z.number(), time: z.number() }).optional(),
  /** Consecutive frames behind the scene's time, of a session that may have taken over. */
  behind: z
    .object({ session: z.string(), first: z.number(), number: z.number(), count: z.number() })
    .optional(),
});
type ClockState = z.infer<typeof clockStateSchema>;

type Stamp = Pick<Frame, 'capturedAt' | 'frameNumber' | 'session'>;

interface Tick {
  /** The scene's own time, milliseconds. It always rises, and equals the capture time until a clock is set back. */
  time: number;
  /** By how much the frame's clock was set back, milliseconds; absent if it was not. */
  setBackMs?: number;
}

/** Sessions that are remembered: those of two hosts during a rollout, and the ones before them. */
const SESSIONS = 4;
/** No camera sends more frames a second. A number that rises faster is not trusted. */
const MAX_FRAMES_A_SECOND = 1_000;
/** Consecutive frames after which a session behind the scene's time has taken over. */
const TAKE_OVER = 3;
/** The same for a session that began before. A redrive of old frames is rarely that long. */
const LATE_TAKE_OVER = 300;
/** A session whose first frame has a lower number than this begins here. */
const BEGINS_BELOW = 5;
/** Smallest set-back of a clock that is reported, milliseconds: cameras make small corrections all the time. */
const REPORTED_MS = 1_000;

/**
 * Distinguishes new frames from old ones, and gives a time that never goes back.
 * Numbers rise within an ingest session. A frame with an old number is old, whatever its capture time is: it was
 * redriven, replayed or delivered again. A frame with a new number and an earlier capture time shows that a clock was
 * set back. The scene's time then goes on from there. One frame far ahead changes nothing until the next frame confirms
 * it.
 */
export class SceneClock {
  #state: ClockState;

  constructor(state: ClockState = { time: -1, sessions: [] }) {
    this.#state = state;
  }

  get state(): ClockState {
    return this.#state;
  }

  /**
   * Gives the time of a frame.
   * @param interval usual time between two frames, milliseconds
   * @param leap a frame further ahead than this must be confirmed by the next one, milliseconds
   * @returns undefined for a frame that changes nothing: an old one, or one that is not confirmed yet
   */
  take(stamp: Stamp, interval: number, leap: number): Tick | undefined {
    const { time, sessions } = this.#state;
    const known = sessions.find(({ id }) => id === stamp.session);
    if (known && stamp.frameNumber <= known.number) return undefined;
    const now = stamp.capturedAt + (known?.skew ?? 0);
    if (time < 0) return this.#accept(stamp, now);
    const ahead = now - time;
    const believable = !known || stamp.frameNumber - known.number <= MAX_FRAMES_A_SECOND + Math.max(0, ahead);
    if (ahead > leap && !this.#confirmed(stamp, now)) return undefined;
    if (ahead > 0 && believable) return this.#accept(stamp, now);
    const current = known !== undefined && known === sessions.at(-1);
    if (!(current && believable) && !this.#takesOver(stamp, known !== undefined)) return undefined;
    const tick = this.#accept(stamp, time + Math.max(1, interval));
    return ahead <= -REPORTED_MS ? { ...tick, setBackMs: -ahead } : tick;
  }

  #accept({ session, frameNumber, capturedAt }: Stamp, time: number): Tick {
    const others = this.#state.sessions.filter(({ id }) => id !== session);
    const sessions = [...others, { id: session, number: frameNumber, skew: time - capturedAt }];
    this.#state = { time, sessions: sessions.slice(-SESSIONS) };
    return { time };
  }

  /** Whether the frame before was just as far ahead. */
  #confirmed({ session, frameNumber }: Stamp, time: number): boolean {
    const before = this.#state.ahead;
    const confirmed = before?.session === session && before.number < frameNumber && before.time < time;
    this.#state.ahead = { session, number: frameNumber, time };
    return confirmed;
  }

  /** Whether enough consecutive frames of the session came to show that the camera sends this session now. */
  #takesOver({ session, frameNumber }: Stamp, known: boolean): boolean {
    const before = this.#state.behind;
    const goesOn = before?.session === session && before.number < frameNumber;
    const { first, count } = goesOn ? before : { first: frameNumber, count: 0 };
    this.#state.behind = { session, first, number: frameNumber, count: count + 1 };
    return count + 1 >= (known || first < BEGINS_BELOW ? TAKE_OVER : LATE_TAKE_OVER);
  }
}
