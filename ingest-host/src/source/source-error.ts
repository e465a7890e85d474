import { OutboundError } from '@video-pipeline/outbound';
import { AVERROR_EINVAL, AVERROR_EIO, AVERROR_EOF, AVERROR_INVALIDDATA } from 'node-av/constants';
import { FFmpegError } from 'node-av/lib';

/** A source that can't be opened, read or decoded. The message holds no credentials. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
  /** Whether only a person can fix it: an early retry would fail too. */
  readonly permanent: boolean;
  /** Whether every retry would fail: a file without a picture, for example. */
  readonly isFinal: boolean;

  /** URL to which the camera redirects the stream. */
  readonly location: string | undefined;

  constructor(message: string, permanent = false, isFinal = false, location?: string) {
    super(message);
    this.permanent = permanent;
    this.isFinal = isFinal;
    this.location = location;
  }
}

/** Messages for statuses of HTTP and RTSP that only a person can fix. */
const PERMANENT: Partial<Record<number, string>> = {
  401: 'authentication failed (401): check user and password',
  403: 'access denied (403)',
  404: 'no such stream on the camera (404)',
};

/** Messages for codes when a source is opened: FFmpeg's own messages are too vague. */
const OPEN_ERRORS = new Map<number, string>([
  [AVERROR_EIO, "the host is unknown or can't be reached"],
  [AVERROR_EOF, 'it ended before a picture came'],
  [AVERROR_INVALIDDATA, 'what is there is no video stream'],
  [AVERROR_EINVAL, 'what is there is none of the formats that cameras use'],
]);

/** @throws SourceError when `code` is one of FFmpeg's errors */
export function check(code: number, step: string): void {
  if (code >= 0) return;
  const reason = step === 'open' ? OPEN_ERRORS.get(code) : undefined;
  throw new SourceError(`${step}: ${reason ?? FFmpegError.strerror(code)}`);
}

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
  const own = PERMANENT[status];
  const more = status === 461 ? ": try another 'transport' of the stream" : '';
  return new SourceError(`open: ${own ?? text.trim() + more}`, own !== undefined);
}
