import type { MSKEvent } from '@video-pipeline/frame';
import { handler as detect } from '@video-pipeline/functions/detect';

/** Detect, with every batch delivered a second time. */
export const handler = async (event: MSKEvent): Promise<void> => {
  await detect(event);
  await detect(event);
};
