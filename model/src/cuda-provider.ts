// Puts onnxruntime's CUDA provider beside onnxruntime-node's library, which lacks it:
//   node model/src/cuda-provider.ts
// The image of model/Dockerfile.cuda is built with it; `npm run bench:gpu` calls it too.
import { cp, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fetchWheel, type Wheel } from '@video-pipeline/assets';
import { exitWithError } from '@video-pipeline/lifecycle';

const PROVIDERS = ['shared', 'cuda', 'tensorrt'].map((name) => `libonnxruntime_providers_${name}.so`);

/**
 * ONNX Runtime for CUDA 13 and cuDNN 9 (MIT). Its Python wheel contains the providers of the same version. Not for arm64:
 * there, onnxruntime-node is built without CUDA.
 */
const ONNXRUNTIME_GPU: Wheel = {
  name: 'onnxruntime-gpu',
  version: '1.30.0',
  files: {
    'linux-x64': {
      file: 'onnxruntime_gpu-1.30.0-cp313-cp313-manylinux_2_28_x86_64.whl',
      sha256: '9aba23f903f434cc55d851aeb801afee19e287c202f4ab8f59d02f04caa90aed',
    },
  },
  wanted: (path) => PROVIDERS.some((name) => path === `onnxruntime/capi/${name}`),
};

/** The folder of onnxruntime-node's library for this machine. */
export function onnxruntimeFolder(): string {
  const entry = createRequire(import.meta.url).resolve('onnxruntime-node');
  return join(dirname(entry), '../bin/napi-v6', process.platform, process.arch);
}

/**
 * Fetches the providers, unless they are cached, and copies them to where onnxruntime-node looks for them.
 * @returns their paths
 * @throws AssetError; Error when onnxruntime-node is of another version
 */
export async function installCudaProvider(note: (line: string) => void = () => {}): Promise<string[]> {
  const folder = onnxruntimeFolder();
  const { version } = JSON.parse(await readFile(join(folder, '../../../../package.json'), 'utf8'));
  if (version !== ONNXRUNTIME_GPU.version)
    throw new Error(`onnxruntime-node is ${version}, its CUDA provider ${ONNXRUNTIME_GPU.version}`);
  const wheel = await fetchWheel(ONNXRUNTIME_GPU, note);
  const paths = PROVIDERS.map((name) => join(folder, name));
  await Promise.all(
    PROVIDERS.map((name, index) => cp(join(wheel, 'onnxruntime/capi', name), paths[index] ?? '')),
  );
  return paths;
}

if (import.meta.main)
  await installCudaProvider(console.log).then((paths) => console.log(paths.join('\n')), exitWithError);
