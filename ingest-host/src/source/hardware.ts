import {
  AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX,
  AV_HWDEVICE_TYPE_CUDA,
  AV_HWDEVICE_TYPE_VAAPI,
  type AVHWDeviceType,
  type AVPixelFormat,
} from 'node-av/constants';
import { type Codec, FFmpegError, HardwareDeviceContext } from 'node-av/lib';
import type { Hwaccel } from './source.ts';

const TYPES = { cuda: AV_HWDEVICE_TYPE_CUDA, vaapi: AV_HWDEVICE_TYPE_VAAPI };
type Kind = keyof typeof TYPES;

interface Hardware {
  kind: Kind;
  device: HardwareDeviceContext;
  pixelFormat: AVPixelFormat;
}

/** By kind: the device, which all streams share, or the reason why there is none. */
const devices = new Map<Kind, HardwareDeviceContext | string>();

/**
 * @param wanted `auto` is the first available device
 * @returns a device that decodes `codec`, or the reason why there is none
 */
export function findHardware(wanted: Hwaccel, codec: Codec): Hardware | string {
  const kinds: Kind[] = wanted === 'auto' ? ['cuda', 'vaapi'] : [wanted];
  const problems: string[] = [];
  for (const kind of kinds) {
    const device = deviceOf(kind);
    const pixelFormat = formatOf(codec, TYPES[kind]);
    if (typeof device === 'string') problems.push(`${kind}: ${device}`);
    else if (pixelFormat === undefined) problems.push(`${kind}: it decodes no ${codec.name}`);
    else return { kind, device, pixelFormat };
  }
  return problems.join('; ');
}

function deviceOf(kind: Kind): HardwareDeviceContext | string {
  const known = devices.get(kind);
  if (known !== undefined) return known;
  const device = new HardwareDeviceContext();
  const code = device.create(TYPES[kind]);
  const found = code < 0 ? `no device (${FFmpegError.strerror(code)})` : device;
  devices.set(kind, found);
  return found;
}

function formatOf(codec: Codec, type: AVHWDeviceType): AVPixelFormat | undefined {
  for (let index = 0; ; index += 1) {
    const config = codec.getHwConfig(index);
    if (!config) return undefined;
    const isOurs = (config.methods & AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX) !== 0;
    if (isOurs && config.deviceType === type) return config.pixFmt;
  }
}
