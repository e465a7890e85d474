// Fetches OpenVINO's libraries in advance, as an image's build does: `node model/src/openvino/wheel.ts`
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheDir, fetchWheel, platformKey, type Wheel } from '@video-pipeline/assets';

const build = (tag: string) => `openvino-2026.4.1-22982-cp313-cp313-${tag}.whl`;

/** OpenVINO's libraries (Apache-2.0). npm's `openvino-node` is not used: it downloads its runtime from another host. */
const OPENVINO: Wheel = {
  name: 'openvino',
  version: '2026.4.1',
  files: {
    'linux-x64': {
      file: build('manylinux_2_28_x86_64'),
      sha256: 'a9b637846c579d7b81b17b6585e0c7b1947574e8d13cf83d7307ce50cd2c352e',
    },
    'linux-arm64': {
      file: build('manylinux_2_35_aarch64'),
      sha256: 'fc45339ff7d539de76e6d7b04135c120504c797cfc8c2a0dde3d2d616b30c758',
    },
    'darwin-arm64': {
      file: build('macosx_11_0_arm64'),
      sha256: '60496e3153122913c8a2fa69d86b3a77ccc4e2469db87d76eb8acb49a5d22d63',
    },
  },
  // The CPU plugin, the ONNX frontend and the licences: half of the wheel.
  wanted: (path) =>
    /^openvino\/libs\/.*(tbb|hwloc|openvino\.|openvino_c|intel_cpu|arm_cpu|onnx_frontend)/.test(path) ||
    path.includes('/licenses/'),
};

/** Paths of OpenVINO's libraries in the order of loading; the last one is its C API. */
export async function openvinoLibraries(note?: (line: string) => void): Promise<string[]> {
  const folder = join(await fetchWheel(OPENVINO, note), 'openvino/libs');
  const names = await readdir(folder);
  const wanted = [/^libtbb\.(so\.12|12\.dylib)$/, /^libopenvino\.(so\.\d+|\d+\.dylib)$/];
  const api = /^libopenvino_c\.(so\.\d+|\d+\.dylib)$/;
  return [...wanted, api].flatMap((pattern) => {
    const name = names.find((one) => pattern.test(one));
    return name && existsSync(join(folder, name)) ? [join(folder, name)] : [];
  });
}

export function isOpenvinoCached(): boolean {
  const { file } = OPENVINO.files[platformKey()] ?? {};
  return (
    file !== undefined && existsSync(join(cacheDir(), 'wheels', file.replace(/\.whl$/, ''), 'openvino/libs'))
  );
}

if (import.meta.main) await openvinoLibraries(console.log);
