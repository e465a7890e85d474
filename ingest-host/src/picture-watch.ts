/**
 * Detects a source that sends packets but gives no picture, or only pictures with the same time. Key frames may be
 * rare, or the camera's clock may stand still. Reopening such a source would not help.
 * @param onWait called with the reason, each time that this has lasted `seconds`
 */
export function watchPictures(seconds: number, onWait: (reason: string) => void) {
  let since = 0;
  let last = Number.NaN;
  let [packets, pictures] = [0, 0];
  return {
    /** Reports a coded picture. @param awaited what the decoder waits for */
    packet(awaited: string): void {
      // The time before the first packet does not count: the pipeline may have been full.
      if (packets === 0) since = performance.now();
      packets += 1;
      const waited = (performance.now() - since) / 1000;
      if (waited < seconds) return;
      const why = pictures > 0 ? 'all with the same time: its clock stands still' : `but not ${awaited}`;
      onWait(`${packets} packets came in ${Math.round(waited)} s, ${why}`);
      [packets, pictures] = [0, 0];
    },
    /** @param time presentation time, seconds */
    picture(time: number): void {
      pictures += 1;
      if (time !== last) [packets, pictures] = [0, 0];
      last = time;
    },
  };
}
