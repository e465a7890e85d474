import { AV_CODEC_ID_HEVC, AVMEDIA_TYPE_AUDIO } from 'node-av/constants';
import {
  avGetCodecName,
  avGetPixFmtName,
  Codec,
  type CodecContext,
  type FormatContext,
  type Stream,
} from 'node-av/lib';

/** Format of a video, from its container and decoder. Values from the pictures are known once one is decoded. */
export interface VideoFormat {
  /** FFmpeg's name of the demuxer: `rtsp`, `mpjpeg`, `hls`, `mov,mp4,...`. */
  container: string;
  /** FFmpeg's name: `h264`, `hevc`, `mjpeg`. */
  codec: string;
  /** `High`, `Main 10`. */
  profile?: string | undefined;
  /** `4.1` */
  level?: string | undefined;
  /** Width and height, pixels. */
  width: number;
  height: number;
  /** `yuv420p` */
  pixelFormat?: string | undefined;
  /** Frames a second stated by the container or the codec's headers. */
  announcedFps?: number | undefined;
  /** Codecs of the audio beside it. */
  audio: string[];
}

export function videoFormat(input: FormatContext, stream: Stream, decoder: CodecContext): VideoFormat {
  const { codecId } = stream.codecpar;
  const audio = input.streams.filter(({ codecpar }) => codecpar.codecType === AVMEDIA_TYPE_AUDIO);
  return {
    container: input.iformat?.name ?? 'unknown',
    codec: avGetCodecName(codecId) ?? 'unknown',
    profile:
      Codec.findDecoder(codecId)?.profiles?.find(({ profile }) => profile === decoder.profile)?.name ??
      undefined,
    level: levelName(codecId, decoder.level),
    pixelFormat: avGetPixFmtName(decoder.pixelFormat) ?? undefined,
    announcedFps: ratio(stream.avgFrameRate) ?? ratio(decoder.framerate),
    width: decoder.width,
    height: decoder.height,
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
