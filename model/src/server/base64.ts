/** @returns `undefined` when `text` is not base64; Node alone would skip invalid characters */
export function fromBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  const digits = text.endsWith('==') ? text.length - 2 : text.endsWith('=') ? text.length - 1 : text.length;
  return bytes.length === Math.floor((digits * 3) / 4) ? bytes : undefined;
}
