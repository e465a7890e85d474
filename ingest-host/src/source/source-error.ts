import {
  AVERROR_EINVAL,
  AVERROR_EIO,
  AVERROR_EOF,
  AVERROR_HTTP_FORBIDDEN,
  AVERROR_HTTP_NOT_FOUND,
  AVERROR_HTTP_UNAUTHORIZED,
  AVERROR_INVALIDDATA,
} from 'node-av/constants';
import { FFmpegError } from 'node-av/lib';

/** A source that can't be opened, read or decoded. The message holds no credentials. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
  /** Whether only a person can mend it: trying again soon is no use. */
  readonly permanent: boolean;
  /** Whether it is no use to try again at all: a file that holds no picture. */
  readonly isFinal: boolean;

  constructor(message: string, permanent = false, isFinal = false) {
    super(message);
    this.permanent = permanent;
    this.isFinal = isFinal;
  }
}

/** HTTP and RTSP statuses that only a person can mend. */
const PERMANENT = new Map<number, string>([
  [AVERROR_HTTP_UNAUTHORIZED, 'authentication failed (401): check user and password'],
  [AVERROR_HTTP_FORBIDDEN, 'access denied (403)'],
  [AVERROR_HTTP_NOT_FOUND, 'no such stream on the camera (404)'],
]);

/** What other codes mean when a source is opened: FFmpeg's own words leave too much to guess. */
const OPEN_ERRORS = new Map<number, string>([
  [AVERROR_EIO, "the host is unknown or can't be reached"],
  [AVERROR_EOF, 'it ended before a picture came'],
  [AVERROR_INVALIDDATA, 'what is there is no video stream'],
  [AVERROR_EINVAL, 'what is there is none of the formats that cameras use'],
]);

/** @throws SourceError when `code` is one of FFmpeg's errors */
export function check(code: number, step: string): void {
  if (code < 0) throw failure(code, step);
}

/** What FFmpeg's error `code`, met in `step`, means. */
export function failure(code: number, step: string): SourceError {
  const permanent = PERMANENT.get(code);
  const reason = permanent ?? (step === 'open' ? OPEN_ERRORS.get(code) : undefined);
  return new SourceError(`${step}: ${reason ?? FFmpegError.strerror(code)}`, permanent !== undefined);
}

/** What an error of a socket means. */
export function connectionError(error: NodeJS.ErrnoException): SourceError {
  if (error.code === 'ENOTFOUND' || error.code === 'EAI_AGAIN') {
    return new SourceError("open: the host is unknown or can't be reached");
  }
  const words: Record<string, string> = {
    ECONNREFUSED: 'Connection refused',
    ECONNRESET: 'Connection reset by peer',
    ETIMEDOUT: 'Connection timed out',
  };
  return new SourceError(`open: ${words[error.code ?? ''] ?? error.message}`);
}

/** What an RTSP status means. @param text for one that has no name here */
export function statusError(status: number, text: string): SourceError {
  const codes = new Map([
    [401, AVERROR_HTTP_UNAUTHORIZED],
    [403, AVERROR_HTTP_FORBIDDEN],
    [404, AVERROR_HTTP_NOT_FOUND],
  ]);
  const code = codes.get(status);
  if (status === 461) return new SourceError(`open: ${text.trim()}: try another 'transport' of the stream`);
  return code === undefined ? new SourceError(`open: ${text.trim()}`) : failure(code, 'open');
}
