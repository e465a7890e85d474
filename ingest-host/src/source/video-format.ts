import { AV_CODEC_ID_HEVC, AVMEDIA_TYPE_AUDIO } from 'node-av/constants';
import {
  avGetCodecName,
  avGetPixFmtName,
  Codec,
  type CodecContext,
  type FormatContext,
  type Stream,
} from 'node-av/lib';

export type VideoFormat = ReturnType<typeof videoFormat>;

/** Format of a video, from its container and decoder. Values from the pictures are known once one is decoded. */
export function videoFormat(input: FormatContext, stream: Stream, decoder: CodecContext) {
  const { codecId } = stream.codecpar;
  const profiles = Codec.findDecoder(codecId)?.profiles;
  const audio = input.streams.filter(({ codecpar }) => codecpar.codecType === AVMEDIA_TYPE_AUDIO);
  return {
    /** FFmpeg's name of the demuxer: `rtsp`, `mpjpeg`, `hls`, `mov,mp4,...`. */
    container: input.iformat?.name ?? 'unknown',
    /** FFmpeg's name: `h264`, `hevc`, `mjpeg`. */
    codec: avGetCodecName(codecId) ?? 'unknown',
    /** `High`, `Main 10`. */
    profile: profiles?.find(({ profile }) => profile === decoder.profile)?.name ?? undefined,
    /** `4.1` */
    level: levelName(codecId, decoder.level),
    /** `yuv420p` */
    pixelFormat: avGetPixFmtName(decoder.pixelFormat) ?? undefined,
    /** Frames a second stated by the container or the codec's headers. */
    announcedFps: ratio(stream.avgFrameRate) ?? ratio(decoder.framerate),
    /** Width and height, pixels. */
    width: decoder.width,
    height: decoder.height,
    /** Codecs of the audio beside it. */
    audio: audio.map(({ codecpar }) => avGetCodecName(codecpar.codecId) ?? 'unknown'),
  };
}

/** H.264 counts levels in tenths (ITU-T H.264, A.3.1), H.265 in thirtieths (ITU-T H.265, A.4.1). */
function levelName(codecId: number, level: number): string | undefined {
  return level > 0 ? (level / (codecId === AV_CODEC_ID_HEVC ? 30 : 10)).toFixed(1) : undefined;
}

function ratio({ num, den }: { num: number; den: number }): number | undefined {
  return num > 0 && den > 0 ? num / den : undefined;
}
