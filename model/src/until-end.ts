/**
 * Waits for an answer no longer than its request lasts.
 * @param leave called at the end of a request that has no answer yet
 * @throws `signal.reason` once it ends
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
