export type Watchdog = ReturnType<typeof startWatchdog>;

/** Aborts its signal when it is not fed for this long. `stop` stops it until it is fed again. */
export function startWatchdog(milliseconds: number) {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const stop = () => clearTimeout(timer);
  const feed = () => {
    // Not refreshed: a timer that was cleared never fires again.
    stop();
    timer = setTimeout(() => controller.abort(), milliseconds);
  };
  feed();
  return { signal: controller.signal, feed, stop };
}
