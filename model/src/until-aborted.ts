import { addAbortListener } from 'node:events';

/**
 * Waits for an answer until the signal aborts.
 * @param leave called if the signal aborts before the answer
 * @throws `signal.reason` once the signal aborts
 */
export async function untilAborted<T>(
  answer: Promise<T>,
  signal: AbortSignal,
  leave: () => void,
): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  using _listener = addAbortListener(signal, () => {
    leave();
    reject(signal.reason);
  });
  return await Promise.race([answer, promise]);
}
