/**
 * Waits for an answer until the signal aborts.
 * @param leave called if the signal aborts before the answer
 * @throws `signal.reason` once the signal aborts
 */
export async function untilEnd<T>(answer: Promise<T>, signal: AbortSignal, leave: () => void): Promise<T> {
  const ended = Promise.withResolvers<never>();
  const end = () => {
    leave();
    ended.reject(signal.reason);
  };
  if (signal.aborted) end();
  signal.addEventListener('abort', end, { once: true });
  try {
    return await Promise.race([answer, ended.promise]);
  } finally {
    signal.removeEventListener('abort', end);
  }
}
