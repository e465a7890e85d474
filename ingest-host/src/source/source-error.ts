import { OutboundError } from '@video-pipeline/outbound';
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
  /** Whether only a person can fix it: an early retry would fail too. */
  readonly permanent: boolean;
  /** Whether every retry would fail: a file without a picture, for example. */
  readonly isFinal: boolean;

  constructor(message: string, permanent = false, isFinal = false) {
    super(message);
    this.permanent = permanent;
    this.isFinal = isFinal;
  }
}

/** Error codes of HTTP and RTSP that only a person can fix. */
const PERMANENT = new Map<number, string>([
  [AVERROR_HTTP_UNAUTHORIZED, 'authentication failed (401): check user and password'],
  [AVERROR_HTTP_FORBIDDEN, 'access denied (403)'],
  [AVERROR_HTTP_NOT_FOUND, 'no such stream on the camera (404)'],
]);

/** Messages for other codes when a source is opened: FFmpeg's own messages are too vague. */
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

/** The SourceError for FFmpeg's error `code` in `step`. */
export function failure(code: number, step: string): SourceError {
  const permanent = PERMANENT.get(code);
  const reason = permanent ?? (step === 'open' ? OPEN_ERRORS.get(code) : undefined);
  return new SourceError(`${step}: ${reason ?? FFmpegError.strerror(code)}`, permanent !== undefined);
}

/** The SourceError for an error of a connection. */
export function connectionError(error: NodeJS.ErrnoException): SourceError {
  if (error instanceof SourceError) return error;
  if (error instanceof OutboundError) return new SourceError(`open: ${error.message}`, true);
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

/** The SourceError for an HTTP or RTSP status. @param text message for a status without one of its own */
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
