import { CLIPS, fetchAsset } from '@video-pipeline/assets';
import { Decoder, Demuxer, Scaler } from 'node-av/api';

/** Each `step`-th frame of the demo clips, at most `count` of a clip, in the form that `convert` gives. */
export async function clipFrames<Picture>(
  step: number,
  count: number,
  convert: (scaler: Scaler, frame: Parameters<Scaler['toJpeg']>[0]) => Promise<Picture>,
): Promise<{ clip: string; pictures: Picture[] }[]> {
  const paths = await fetchAsset(CLIPS);
  return Promise.all(paths.map(async (path) => ({ clip: path, pictures: await read(path) })));

  async function read(path: string): Promise<Picture[]> {
    await using input = await Demuxer.open(path);
    const video = input.video();
    if (!video) throw new Error(`${path} has no video`);
    using decoder = await Decoder.create(video);
    using scaler = new Scaler();
    const pictures: Picture[] = [];
    let index = 0;
    for await (using frame of decoder.frames(input.packets(video.index))) {
      if (!frame) break;
      if (index++ % step === step - 1) pictures.push(await convert(scaler, frame));
      if (pictures.length === count) break;
    }
    return pictures;
  }
}
